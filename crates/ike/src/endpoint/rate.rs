//! IKE_SA_INIT requests per source: beyond a rate a source must return a cookie and gets no other
//! answer. Memory is fixed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::random::{Random, draw_u64};
use crate::time::Time;

/// Sources whose keyed hashes collide share a bucket: an attacker cannot choose which sources are
/// counted together.
const BUCKETS: usize = 4096;

/// Counts of the current second.
pub(super) struct Rates {
    key: u64,
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    second: u64,
    count: u32,
}

impl Rates {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        Rates { key: draw_u64(random), buckets: vec![Bucket::default(); BUCKETS].into() }
    }

    /// Counts one more; true if `limit` in this second is exceeded.
    pub(super) fn exceeds(&mut self, now: Time, source: IpAddr, limit: u32) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.key, source).hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0);
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        let second = now.as_millis() / 1000;
        if bucket.second != second {
            *bucket = Bucket { second, count: 0 };
        }
        bucket.count = bucket.count.saturating_add(1);
        bucket.count > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_source_is_counted_by_the_second_and_apart_from_others() {
        let mut rates = Rates::new(&mut SystemRandom);
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let at = Time::from_millis;
        let beyond = |rates: &mut Rates, now| (0..10).filter(|_| rates.exceeds(now, a, 8)).count();
        assert_eq!(beyond(&mut rates, at(5000)), 2);
        assert_eq!(beyond(&mut rates, at(5999)), 10);
        assert_eq!(beyond(&mut rates, at(6000)), 2);
        let together = rates.exceeds(at(6000), b, 8);
        // One in 4096 runs has both in one bucket.
        assert!(!together || rates.exceeds(at(7000), b, 0));
    }
}
