//! Rate limits for messages that third parties can cause.

use std::time::Duration;

/// Passes a limited number of messages in each second and counts the suppressed ones.
#[derive(Clone, Debug)]
pub struct RateLimit {
    per_second: u32,
    window: Duration,
    passed: u32,
    withheld: u64,
}

impl RateLimit {
    /// A limit of `per_second`.
    pub fn new(per_second: u32) -> Self {
        RateLimit { per_second, window: Duration::ZERO, passed: 0, withheld: 0 }
    }

    /// Whether one more message may pass now.
    pub fn pass(&mut self, now: Duration) -> bool {
        if now >= self.window + Duration::from_secs(1) {
            self.window = now;
            self.passed = 0;
        }
        if self.passed < self.per_second {
            self.passed += 1;
            return true;
        }
        self.withheld += 1;
        false
    }

    /// The number of suppressed messages.
    pub fn withheld(&self) -> u64 {
        self.withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_passes_the_limit_in_each_second() {
        let mut limit = RateLimit::new(5);
        let passed =
            (0..3000u64).filter(|ms| limit.pass(Duration::from_secs(9) + Duration::from_millis(*ms))).count();
        assert_eq!((passed, limit.withheld()), (15, 2985));
    }
}
