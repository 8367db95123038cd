//! Requests to valgrind's memory checker, by which secrets are tracked: data marked as undefined
//! may be computed with, and every branch or address that depends on them is counted as an error.
//! Only with the feature `memcheck`; outside of valgrind the requests do nothing.

use core::arch::asm;

/// `valgrind/valgrind.h`: whether the program runs under valgrind, and errors so far.
const RUNNING_ON_VALGRIND: u64 = 0x1001;
const COUNT_ERRORS: u64 = 0x1201;
/// `valgrind/memcheck.h`: the tool's base is its letters M and C.
const MAKE_UNDEFINED: u64 = 0x4d43_0001;
const MAKE_DEFINED: u64 = 0x4d43_0002;

/// Whether the program runs under valgrind.
pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) != 0
}

/// Errors that valgrind has found so far, each occurrence counted.
pub fn errors() -> u64 {
    request(COUNT_ERRORS, 0, 0)
}

/// Marks these bytes as secret: no branch and no address may depend on them or on values computed
/// from them.
pub fn make_secret(bytes: &[u8]) {
    request(MAKE_UNDEFINED, bytes.as_ptr().addr() as u64, bytes.len() as u64);
}

/// Marks these bytes as public.
pub fn make_public(bytes: &[u8]) {
    request(MAKE_DEFINED, bytes.as_ptr().addr() as u64, bytes.len() as u64);
}

/// Marks a verdict as public although it was computed from secrets.
pub(crate) fn publish(verdict: u32) -> u32 {
    let bytes = std::hint::black_box(verdict.to_ne_bytes());
    make_public(&bytes);
    u32::from_ne_bytes(std::hint::black_box(bytes))
}

/// The magic sequence of `valgrind.h` for x86-64: four rotations that cancel out, and an exchange
/// of a register with itself.
fn request(code: u64, first: u64, second: u64) -> u64 {
    let arguments = [code, first, second, 0, 0, 0];
    let result: u64;
    // SAFETY: without valgrind it changes nothing but flags; under valgrind it reads `arguments`,
    // six words, and sets `rdx`.
    unsafe {
        asm!("rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
             in("rax") arguments.as_ptr(), inout("rdx") 0u64 => result);
    }
    result
}
