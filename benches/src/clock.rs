//! The time-stamp counter and its rate.

use core::arch::asm;
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use std::time::{Duration, Instant};

/// The time-stamp counter, read after all earlier instructions and before any later one.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: SSE2 is part of x86-64; a fence touches no memory of ours.
    unsafe { _mm_lfence() };
    // SAFETY: every x86-64 CPU has the counter, and user programs may read it on Linux.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: as above.
    unsafe { _mm_lfence() };
    ticks
}

/// The rates of one core, measured.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Counter ticks a second.
    pub ticks_per_second: f64,
    /// Counter ticks a core cycle: below 1 when the core runs faster than the counter.
    pub ticks_per_cycle: f64,
}

impl Clock {
    /// Takes about 60 ms.
    pub fn measure() -> Self {
        let (start, first) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(40) {}
        let (last, elapsed) = (ticks(), start.elapsed());
        Clock {
            ticks_per_second: (last - first) as f64 / elapsed.as_secs_f64(),
            ticks_per_cycle: ticks_per_cycle(),
        }
    }
}

/// The best of many chains of additions that depend on one another: one cycle each on every CPU of
/// the last decades.
fn ticks_per_cycle() -> f64 {
    const ROUNDS: usize = 1000;
    let mut best = u64::MAX;
    let mut sum = 1u64;
    for _ in 0..1000 {
        let start = ticks();
        for _ in 0..ROUNDS {
            // SAFETY: adds a register to itself.
            unsafe {
                asm!("add {0}, {0}", "add {0}, {0}", "add {0}, {0}", "add {0}, {0}", "add {0}, {0}",
                     "add {0}, {0}", "add {0}, {0}", "add {0}, {0}", "add {0}, {0}", "add {0}, {0}",
                     inout(reg) sum, options(nomem, nostack));
            }
        }
        best = best.min(ticks() - start);
    }
    std::hint::black_box(sum);
    best as f64 / (10 * ROUNDS) as f64
}

/// The CPU's name as the kernel gives it, with family and model, which distinguish cores of the
/// same name.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines()
            .find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))
            .and_then(|line| line.split(':').nth(1))
            .map_or("?", str::trim)
    };
    format!("{} family {} model {}", field("model name"), field("cpu family"), field("model"))
}
