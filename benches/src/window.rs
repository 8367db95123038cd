//! Windows: the same work repeated, each time between two readings of the counter.

use crate::clock::ticks;

/// Results of the windows of one line, in ticks per item.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The best window: the cost of the work without disturbance.
    pub best: f64,
    /// The middle one.
    pub median: f64,
    /// The share of windows that took more than a quarter longer than the best, 0 to 1.
    pub disturbed: f64,
}

/// Runs `prepare` untimed and then `work` timed, `windows` times; one window handles `items` items.
/// The first tenth only warms up.
pub fn measure<State>(
    windows: usize,
    items: usize,
    state: &mut State,
    mut prepare: impl FnMut(&mut State),
    mut work: impl FnMut(&mut State),
) -> Sample {
    let windows = if crate::smoke() { 1 } else { windows };
    let overhead = (0..100)
        .map(|_| {
            let start = ticks();
            ticks() - start
        })
        .min()
        .unwrap_or(0);
    let mut times = Vec::with_capacity(windows);
    for window in 0..windows + windows / 10 {
        prepare(state);
        let start = ticks();
        work(state);
        let time = ticks() - start;
        if window >= windows / 10 {
            times.push(time.saturating_sub(overhead));
        }
    }
    times.sort_unstable();
    let (best, median) = (times[0], times[times.len() / 2]);
    let slow = times.iter().filter(|&&time| time > best + best / 4).count();
    Sample {
        best: best as f64 / items as f64,
        median: median as f64 / items as f64,
        disturbed: slow as f64 / times.len() as f64,
    }
}
