//! The control plane's time, which may run N times as fast as the machine's.
//!
//! Inside, time is a `Duration` on a scaled CLOCK_MONOTONIC. The shared segments speak unscaled
//! milliseconds; every time that crosses is converted here, so that all timers are scaled alike.

use std::time::Duration;

/// How many times as fast the clock runs; 1 in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u32);

impl Default for Scale {
    fn default() -> Self {
        Scale(1)
    }
}

impl Scale {
    /// A clock that runs `factor` times as fast; 0 counts as 1.
    pub fn new(factor: u32) -> Self {
        Scale(factor.max(1))
    }

    /// The factor.
    pub fn factor(self) -> u32 {
        self.0
    }

    /// The scaled time at this point of CLOCK_MONOTONIC.
    pub fn scaled(self, monotonic: Duration) -> Duration {
        monotonic * self.0
    }

    /// The scaled time of a shared-segment time stamp; none for 0, which means never.
    pub fn from_stamp(self, monotonic_ms: u64) -> Option<Duration> {
        (monotonic_ms != 0).then(|| self.scaled(Duration::from_millis(monotonic_ms)))
    }

    /// The shared-segment time stamp of a scaled time.
    pub fn stamp(self, at: Duration) -> u64 {
        u64::try_from((at / self.0).as_millis()).unwrap_or(u64::MAX)
    }

    /// How long a scaled span really takes.
    pub fn real(self, span: Duration) -> Duration {
        span / self.0
    }
}

/// The endpoint's form of a point in time.
pub fn ike_time(at: Duration) -> ike::Time {
    ike::Time::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

/// The control plane's form of the endpoint's time.
pub fn from_ike_time(at: ike::Time) -> Duration {
    Duration::from_millis(at.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_survive_both_conversions() {
        let scale = Scale::new(10);
        let at = scale.from_stamp(12_345).unwrap();
        assert_eq!(at, Duration::from_millis(123_450));
        assert_eq!(scale.stamp(at), 12_345);
        assert_eq!(scale.real(Duration::from_secs(10)), Duration::from_secs(1));
        assert_eq!(scale.from_stamp(0), None);
        assert_eq!(Scale::new(0).factor(), 1);
    }
}
