//! The measurement harness of all benchmarks: TSC windows, calibration, the CPU's limit, and
//! reports that include the noise of the machine.
//!
//! * [`clock`]: reads the time-stamp counter, and measures its rate in seconds and core cycles.
//! * [`window`]: many short windows of the same work; the best one is the result, the median and
//!   the spread show its reliability.
//! * [`limit`]: the cost of AES rounds and carry-less multiplications alone on this core.
//! * [`report`]: table, JSON file, noise verdict.
//!
//! The benchmarks decide what is measured. x86-64 only, like the data plane.

pub mod clock;
pub mod limit;
pub mod report;
pub mod window;

/// Whether the benchmark was called with `--test`, as criterion does for "run each once, measure
/// nothing". The figures of such a run are meaningless and are not written.
pub fn smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
