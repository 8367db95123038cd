//! The endpoint's time: passed in by the caller, never read from a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the caller's monotonic clock, in milliseconds since an origin of the caller's choice.
///
/// The control plane hands in CLOCK_MONOTONIC milliseconds, a simulation its virtual clock. The
/// endpoint only compares points and adds durations, so the origin does not matter; it must not
/// change during the endpoint's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The origin itself.
    pub const ZERO: Time = Time(0);

    /// The point `milliseconds` after the origin.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Time(milliseconds)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates: a deadline beyond the largest value never fires. Fractions of a millisecond round
    /// up, so that no timer fires early.
    fn add(self, duration: Duration) -> Time {
        let milliseconds = duration.as_nanos().div_ceil(1_000_000);
        Time(self.0.saturating_add(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_rounds_up_and_saturates() {
        assert_eq!(Time::ZERO + Duration::from_micros(1), Time::from_millis(1));
        assert_eq!(Time::from_millis(u64::MAX - 1) + Duration::from_secs(1), Time::from_millis(u64::MAX));
        assert_eq!(Time::from_millis(5).since(Time::from_millis(9)), Duration::ZERO);
    }
}
