//! When a checkpoint is written, and the one of the previous control plane until it is taken over.

use std::time::Duration;

use super::Memory;

/// A checkpoint holds everything: writing it at each of many changes would take longer than the
/// changes. So long for each policy, pair and session it waits after the one before.
const PAUSE_PER_ITEM: Duration = Duration::from_micros(33);

/// A shorter pause is none: a gateway with less than a hundred tunnels does not wait at all.
const NO_PAUSE_UP_TO: Duration = Duration::from_millis(10);

/// Whether a checkpoint is wanted, and from when on.
#[derive(Debug)]
pub struct Schedule {
    /// Until the first configuration.
    previous: Option<Memory>,
    changed: bool,
    not_before: Duration,
}

impl Schedule {
    /// Nothing is written before the memory of the previous control plane was taken over.
    pub fn new(previous: Memory) -> Self {
        Schedule { previous: Some(previous), changed: false, not_before: Duration::ZERO }
    }

    /// What the previous control plane remembered, if it was not taken over yet.
    pub fn previous(&self) -> Option<&Memory> {
        self.previous.as_ref()
    }

    /// The same, to be taken over now.
    pub fn take_previous(&mut self) -> Option<Memory> {
        self.previous.take()
    }

    /// Something that the checkpoint holds has changed.
    pub fn mark(&mut self) {
        self.changed = true;
    }

    /// When the next checkpoint may be written, if one is wanted.
    pub fn at(&self) -> Option<Duration> {
        (self.previous.is_none() && self.changed).then_some(self.not_before)
    }

    /// A checkpoint of so many policies, pairs and sessions is written now.
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
