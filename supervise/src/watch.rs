//! Whether a process makes progress, by its pulse.

use std::time::{Duration, Instant};

use sa_table::{PULSE_PERIOD, PulseMonitor};

/// A process that was just started reads its configuration and takes over maps, which a large one
/// makes long.
const STARTING: Duration = Duration::from_secs(120);
/// A process that was silent for so long does not count as one that makes progress, long before it
/// is given up.
const QUIET: Duration = Duration::from_secs(5);
/// Two looks lie no further apart, or this process was paused itself, and the silence says nothing.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

const _: () = assert!(LONGEST_LOOK.as_millis() > PULSE_PERIOD.as_millis());

/// One life of a process.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    monitor: Option<PulseMonitor>,
    progress: Progress,
}

impl Watch {
    pub fn new(monitor: PulseMonitor) -> Self {
        Self { monitor: Some(monitor), progress: Progress::default() }
    }

    /// Whether the process works: it came up, and showed life lately. `Err`: how long it has been
    /// silent, when that is longer than `patience`.
    pub fn look(&mut self, now: Instant, patience: Duration) -> Result<bool, Duration> {
        let beat = self.monitor.as_ref().is_some_and(PulseMonitor::take);
        self.progress.look(beat, now, patience)
    }
}

/// What the beats say.
#[derive(Debug, Default)]
struct Progress {
    /// It showed a first sign of life.
    up: bool,
    /// How long it has shown none, as far as anybody looked.
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

    /// Looks once a second; a beat where `beats` says so. The last answer.
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
