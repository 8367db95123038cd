//! Rate limit of match reports of lines with `log`.

/// Reports per second and worker.
const PER_SECOND: u16 = 10;
const SECOND_MS: u64 = 1000;

/// Permits a number of reports in each second and counts the suppressed ones.
#[derive(Debug, Default)]
pub struct MatchLog {
    window_ms: u64,
    sent: u16,
    withheld: u16,
}

impl MatchLog {
    /// Whether a match is reported now, and how many were suppressed before it.
    pub fn due(&mut self, now_ms: u64) -> Option<u16> {
        if now_ms.saturating_sub(self.window_ms) >= SECOND_MS {
            (self.window_ms, self.sent) = (now_ms, 0);
        }
        if self.sent >= PER_SECOND {
            self.withheld = self.withheld.saturating_add(1);
            return None;
        }
        self.sent += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_reported_in_part_and_the_rest_is_counted() {
        let mut log = MatchLog::default();
        let reported = (0..100).filter(|_| log.due(5000) == Some(0)).count();
        assert_eq!(reported, 10);
        assert_eq!(log.due(5999), None);
        assert_eq!(log.due(6000), Some(91));
        assert_eq!(log.due(6000), Some(0));
    }
}
