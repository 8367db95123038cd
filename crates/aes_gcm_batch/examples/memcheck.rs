//! Run under valgrind by `scripts/aead-memcheck.sh`: keys and plaintexts are marked as undefined,
//! so that the memory checker finds every branch and every address that depends on one. It knows
//! the instructions of the back ends `aes-ni` and `portable` and of key expansion.

use std::process::ExitCode;

use aes_gcm_batch::memcheck::{errors, is_running, make_public, make_secret};
use aes_gcm_batch::{Backend, Engine, Job, KeySchedule};

/// Every kind of tail, whole and partial blocks, short and long kernel.
const LENGTHS: [usize; 16] = [0, 1, 7, 15, 16, 17, 31, 46, 68, 100, 112, 113, 256, 600, 1404, 2048];

fn main() -> ExitCode {
    if !is_running() {
        eprintln!("memcheck: this program checks nothing unless valgrind runs it: scripts/aead-memcheck.sh");
        return ExitCode::from(2);
    }
    if !control() {
        eprintln!("memcheck: FAIL a comparison with early exit is not found, so the tool finds nothing");
        return ExitCode::FAILURE;
    }
    let mut checked = Vec::new();
    for backend in [Backend::AesNi, Backend::Portable] {
        let engine = match Engine::with_backend(backend) {
            Ok(engine) => engine,
            Err(error) => {
                println!("SKIP: memcheck of {backend}: under valgrind {error}");
                continue;
            }
        };
        // The `aes-gcm` crate branches on each verdict, which is public, but cannot mark it as
        // such; its caller branches once more.
        let verdicts = if backend == Backend::Portable { 2 * 6 * LENGTHS.len() as u64 } else { 0 };
        match check(engine) {
            Ok(found) if found == verdicts => checked.push(backend.name()),
            Ok(found) => {
                eprintln!("memcheck: FAIL {backend} depends on secrets {} times", found.abs_diff(verdicts));
                return ExitCode::FAILURE;
            }
            Err(what) => {
                eprintln!("memcheck: FAIL {backend} {what}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("aead-memcheck: PASS expand,{} with keys and plaintexts undefined", checked.join(","));
    if checked.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether the checker detects a comparison that stops at the first difference.
fn control() -> bool {
    let secret = std::hint::black_box([7u8; 16]);
    make_secret(&secret);
    let before = errors();
    let mut equal = 0;
    for byte in &secret {
        if std::hint::black_box(*byte) != 7 {
            break;
        }
        equal += 1;
    }
    std::hint::black_box(equal);
    errors() > before
}

/// Seals, opens, and has forgeries rejected, for each key size. Returns the errors that the checker
/// counted.
fn check(engine: Engine) -> Result<u64, &'static str> {
    let before = errors();
    for key_len in [16, 24, 32] {
        let key: Vec<u8> = (0..key_len).map(|index| (index * 29 + 3) as u8).collect();
        make_secret(&key);
        let Ok(schedule) = KeySchedule::new(&key) else { return Err("refuses a key") };
        // The portable form of a key is made at its first use; the number of rounds in it is
        // public.
        let plain: Vec<Vec<u8>> =
            LENGTHS.iter().map(|&length| (0..length).map(|index| (index * 7) as u8).collect()).collect();
        let mut packets: Vec<(Vec<u8>, [u8; 16])> =
            plain.iter().map(|text| (text.clone(), [0; 16])).collect();
        for (text, _) in &packets {
            make_secret(text);
        }
        engine.seal(&mut jobs(&schedule, &mut packets));
        // Packets on the wire are public.
        publish(&packets);
        let mut forged = packets.clone();
        for (index, (_, tag)) in forged.iter_mut().enumerate() {
            tag[index % 16] ^= 1;
        }
        if engine.open(&mut jobs(&schedule, &mut packets)) != 0 {
            return Err("rejects what it sealed");
        }
        if engine.open(&mut jobs(&schedule, &mut forged)) != forged.len() {
            return Err("accepts a forgery");
        }
        publish(&packets);
        if !packets.iter().map(|(text, _)| text).eq(&plain) {
            return Err("opens to something else");
        }
    }
    Ok(errors() - before)
}

fn publish(packets: &[(Vec<u8>, [u8; 16])]) {
    for (text, tag) in packets {
        make_public(text);
        make_public(tag);
    }
}

fn jobs<'a>(schedule: &'a KeySchedule, packets: &'a mut [(Vec<u8>, [u8; 16])]) -> Vec<Job<'a>> {
    packets
        .iter_mut()
        .enumerate()
        .map(|(index, (text, tag))| Job::new(schedule, [index as u8; 12], b"spi+sequence", text, tag))
        .collect()
}
