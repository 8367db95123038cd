//! The measurement harness of all benchmarks: TSC windows, calibration, the CPU's limit, and
//! reports that admit a noisy machine.
//!
//! * [`clock`]: reads the time-stamp counter, and tells how it relates to seconds and to core
//!   cycles.
//! * [`window`]: many short windows of the same work; the best one is the figure, the median and
//!   the spread tell how much to believe it.
//! * [`limit`]: what AES rounds and carry-less multiplications cost by themselves on this core.
//! * [`report`]: table, JSON file, noise verdict.
//!
//! It measures and prints; it never decides what is measured. x86-64 only, like the data plane.

pub mod clock;
pub mod limit;
pub mod report;
pub mod window;

/// Whether the benchmark was called with `--test`, criterion's word for "run each once, measure
/// nothing". No figure of such a run means anything, and none is written.
pub fn smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
