//! The control plane's clock, which can run N times as fast as CLOCK_MONOTONIC.
//!
//! Inside the control plane, time is a `Duration` on the scaled clock. The shared segments use
//! unscaled milliseconds. Every value that is exchanged with them is converted here, so that all
//! timers are scaled by the same factor.

use std::time::Duration;

/// Time scale factor; 1 in normal operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u32);

impl Default for Scale {
    fn default() -> Self {
        Scale(1)
    }
}

impl Scale {
    /// A clock with this factor; 0 is treated as 1.
    pub fn new(factor: u32) -> Self {
        Scale(factor.max(1))
    }

    /// The factor.
    pub fn factor(self) -> u32 {
        self.0
    }

    /// Converts a CLOCK_MONOTONIC time to scaled time.
    pub fn scaled(self, monotonic: Duration) -> Duration {
        monotonic * self.0
    }

    /// Converts a shared-segment time stamp to scaled time; `None` for 0, which means never.
    pub fn from_stamp(self, monotonic_ms: u64) -> Option<Duration> {
        (monotonic_ms != 0).then(|| self.scaled(Duration::from_millis(monotonic_ms)))
    }

    /// Converts a scaled time to a shared-segment time stamp.
    pub fn stamp(self, at: Duration) -> u64 {
        u64::try_from((at / self.0).as_millis()).unwrap_or(u64::MAX)
    }

    /// Converts a scaled duration to real time.
    pub fn real(self, span: Duration) -> Duration {
        span / self.0
    }
}

/// Converts to the time type of `ike`.
pub fn ike_time(at: Duration) -> ike::Time {
    ike::Time::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

/// Converts from the time type of `ike`.
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
