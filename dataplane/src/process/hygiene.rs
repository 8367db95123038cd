//! Keeps key material inside the process: no core dump, no debugger of another user, no swap.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Protections that the kernel granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hygiene {
    /// Neither dumps nor ptrace by equals: `PR_SET_DUMPABLE` is 0.
    pub undumpable: bool,
    /// No page of the process reaches a swap device.
    pub locked: bool,
}

/// Applies all protections; called once, before the first key is read. A refusal by the kernel is
/// reported, not fatal: the segments with the keys are locked on their own.
pub fn apply() -> Hygiene {
    let undumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    // On fault: the UMEM and thread stacks are locked page by page when they are first used.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let locked = rustix::mm::mlockall(flags).is_ok();
    Hygiene { undumpable, locked }
}
