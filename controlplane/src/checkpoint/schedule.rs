//! Decides when a checkpoint is written, and holds the previous control plane's checkpoint until it
//! is restored.

use std::time::Duration;

use super::Memory;

/// Interval before the next checkpoint, multiplied by the number of policies, pairs and sessions. A
/// checkpoint is always written in full, so with many items one write for each change would cost
/// more than the change.
const PAUSE_PER_ITEM: Duration = Duration::from_micros(33);

/// Intervals up to this length are treated as zero, so that a gateway with fewer than about a
/// hundred tunnels writes without delay.
const NO_PAUSE_UP_TO: Duration = Duration::from_millis(10);

/// Whether a checkpoint is wanted, and the earliest time for it.
#[derive(Debug)]
pub struct Schedule {
    /// Set until the first configuration is applied.
    previous: Option<Memory>,
    changed: bool,
    not_before: Duration,
}

impl Schedule {
    /// Nothing is written before the previous control plane's checkpoint has been restored.
    pub fn new(previous: Memory) -> Self {
        Schedule { previous: Some(previous), changed: false, not_before: Duration::ZERO }
    }

    /// The previous control plane's checkpoint, if it has not been restored yet.
    pub fn previous(&self) -> Option<&Memory> {
        self.previous.as_ref()
    }

    /// Takes the previous control plane's checkpoint in order to restore it.
    pub fn take_previous(&mut self) -> Option<Memory> {
        self.previous.take()
    }

    /// Marks the checkpoint as outdated.
    pub fn mark(&mut self) {
        self.changed = true;
    }

    /// When the next checkpoint may be written, if one is wanted.
    pub fn at(&self) -> Option<Duration> {
        (self.previous.is_none() && self.changed).then_some(self.not_before)
    }

    /// Records that a checkpoint with this number of policies, pairs and sessions was written.
    pub fn written(&mut self, now: Duration, items: usize) {
        self.changed = false;
        let pause = PAUSE_PER_ITEM.saturating_mul(u32::try_from(items).unwrap_or(u32::MAX));
        self.not_before = if pause > NO_PAUSE_UP_TO { now + pause } else { Duration::ZERO };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_items_make_the_next_checkpoint_wait_and_few_do_not() {
        let mut schedule = Schedule::new(Memory::default());
        schedule.mark();
        assert_eq!(schedule.at(), None, "the previous one is not taken over yet");
        assert!(schedule.take_previous().is_some());
        assert_eq!(schedule.at(), Some(Duration::ZERO));
        let now = Duration::from_secs(100);
        schedule.written(now, 10);
        assert_eq!(schedule.at(), None);
        schedule.mark();
        assert_eq!(schedule.at(), Some(Duration::ZERO));
        schedule.written(now, 10_000);
        schedule.mark();
        assert_eq!(schedule.at(), Some(now + Duration::from_millis(330)));
    }
}
