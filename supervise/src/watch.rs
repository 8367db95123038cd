//! Checks by its pulse whether a process makes progress.

use std::time::{Duration, Instant};

use sa_table::{PULSE_PERIOD, PulseMonitor};

/// Time allowed after a start, when the process reads its configuration and takes over eBPF maps,
/// which takes long for large ones.
const STARTING: Duration = Duration::from_secs(120);
/// After this time without a pulse a process no longer counts as making progress, long before it is
/// killed.
const QUIET: Duration = Duration::from_secs(5);
/// Maximum time between two checks. A longer gap means that the supervisor itself was suspended,
/// and does not count as silence of the process.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

const _: () = assert!(LONGEST_LOOK.as_millis() > PULSE_PERIOD.as_millis());

/// One run of a process.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    monitor: Option<PulseMonitor>,
    progress: Progress,
}

impl Watch {
    pub fn new(monitor: PulseMonitor) -> Self {
        Self { monitor: Some(monitor), progress: Progress::default() }
    }

    /// Whether the process works: it has come up and its pulse is recent. `Err`: the time without a
    /// pulse, if that exceeds `patience`.
    pub fn look(&mut self, now: Instant, patience: Duration) -> Result<bool, Duration> {
        let beat = self.monitor.as_ref().is_some_and(PulseMonitor::take);
        self.progress.look(beat, now, patience)
    }
}

/// Progress as derived from the pulse.
#[derive(Debug, Default)]
struct Progress {
    /// Whether a first pulse was seen.
    up: bool,
    /// Time without a pulse, counted only while the supervisor itself was running.
    silent: Duration,
    looked: Option<Instant>,
}

impl Progress {
    fn look(&mut self, beat: bool, now: Instant, patience: Duration) -> Result<bool, Duration> {
        let since = self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        self.looked = Some(now);
        if beat {
            (self.up, self.silent) = (true, Duration::ZERO);
        } else {
            self.silent += since.min(LONGEST_LOOK);
        }
        let limit = if self.up { patience } else { patience.max(STARTING) };
        if self.silent > limit { Err(self.silent) } else { Ok(self.up && self.silent <= QUIET) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Checks once a second, with a pulse where `beats` has one; returns the last result.
    fn looks(progress: &mut Progress, now: &mut Instant, beats: &[bool]) -> Result<bool, Duration> {
        let mut answer = Ok(false);
        for beat in beats {
            *now += Duration::from_secs(1);
            answer = progress.look(*beat, *now, PATIENCE);
        }
        answer
    }

    #[test]
    fn silence_ends_a_process_that_worked() {
        let (mut progress, mut now) = (Progress::default(), Instant::now());
        assert_eq!(looks(&mut progress, &mut now, &[false, false]), Ok(false), "it starts");
        assert_eq!(looks(&mut progress, &mut now, &[true]), Ok(true));
        assert_eq!(looks(&mut progress, &mut now, &[false; 5]), Ok(true), "a moment");
        assert_eq!(
            looks(&mut progress, &mut now, &[false; 15]),
            Ok(false),
            "patience, but nothing is proved"
        );
        assert_eq!(looks(&mut progress, &mut now, &[true, false]), Ok(true), "a beat counts anew");
        assert_eq!(looks(&mut progress, &mut now, &[false; 20]), Err(Duration::from_secs(21)));
    }

    #[test]
    fn a_start_may_take_longer() {
        let (mut progress, mut now) = (Progress::default(), Instant::now());
        assert_eq!(looks(&mut progress, &mut now, &[false; 121]), Ok(false));
        assert!(looks(&mut progress, &mut now, &[false]).is_err());
    }

    #[test]
    fn a_machine_that_slept_is_no_process_that_hangs() {
        let (mut progress, mut now) = (Progress::default(), Instant::now());
        looks(&mut progress, &mut now, &[true, true]).unwrap();
        now += Duration::from_secs(3600);
        assert_eq!(progress.look(false, now, PATIENCE), Ok(true));
    }
}
