//! Idle timers: one per SA pair, and the idle clock of a crypto-map entry.
//!
//! Only packets count, in either direction. IKE messages and dead peer detection do not, so that a
//! tunnel without traffic is closed although its peer answers every probe.

use std::time::Duration;

use crate::plan::IdleRule;

/// The idle timer of one SA pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimer {
    last_activity: Duration,
}

impl IdleTimer {
    /// A timer that starts when the pair is installed.
    pub fn started(now: Duration) -> Self {
        IdleTimer { last_activity: now }
    }

    /// A packet was received and authenticated, or sent, at `at`.
    pub fn packet(&mut self, at: Duration) {
        self.last_activity = self.last_activity.max(at);
    }

    /// The time of the last packet, or of the installation.
    pub fn last_activity(&self) -> Duration {
        self.last_activity
    }

    /// When the pair idles out under `rule` if no packet follows.
    pub fn deadline(&self, rule: &IdleRule) -> Option<Duration> {
        Some(self.last_activity + rule.after?)
    }

    /// Whether the pair has idled out.
    pub fn expired(&self, rule: &IdleRule, now: Duration) -> bool {
        self.deadline(rule).is_some_and(|deadline| now >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a4_entry_timer_equal_to_the_global_one_is_not_added() {
        assert_eq!(
            IdleRule::resolve(Some((120, true)), Some(120)),
            IdleRule { after: Some(s(120)), to_default: false }
        );
        assert_eq!(
            IdleRule::resolve(Some((120, true)), Some(300)),
            IdleRule { after: Some(s(120)), to_default: true }
        );
        assert_eq!(IdleRule::resolve(None, Some(300)), IdleRule { after: Some(s(300)), to_default: false });
        assert_eq!(IdleRule::resolve(None, None), IdleRule::default());
    }

    #[test]
    fn a_packet_in_either_direction_restarts_the_timer() {
        let rule = IdleRule::resolve(Some((60, false)), None);
        let mut timer = IdleTimer::started(s(10));
        assert!(!timer.expired(&rule, s(69)));
        assert!(timer.expired(&rule, s(70)));
        timer.packet(s(65));
        assert_eq!(timer.deadline(&rule), Some(s(125)));
        timer.packet(s(30));
        assert_eq!(timer.deadline(&rule), Some(s(125)), "an older report does not move it back");
    }

    #[test]
    fn without_a_rule_nothing_expires() {
        let timer = IdleTimer::started(s(0));
        assert!(!timer.expired(&IdleRule::default(), s(1_000_000)));
    }

    #[test]
    fn a5_the_idle_clock_needs_the_default_keyword_and_a_packet() {
        let with = IdleRule::resolve(Some((120, true)), None);
        let without = IdleRule::resolve(Some((120, false)), None);
        assert!(with.silence_leads_to_default(Some(s(5)), s(125)));
        assert!(!with.silence_leads_to_default(Some(s(5)), s(124)));
        assert!(!with.silence_leads_to_default(None, s(999)));
        assert!(!without.silence_leads_to_default(Some(s(5)), s(999)));
    }
}
