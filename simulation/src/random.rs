//! The random numbers of a history: one `u64` seed produces the same sequence on every machine and
//! with every library version.
//!
//! SplitMix64 with its published constants. It is not cryptographically secure, and is not used for
//! real keys. none do.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Stream(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes the bits of `value` over the whole word.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Stream(mix(seed))
    }

    /// An independent stream for one purpose, so that the draws of one part of a history do not
    /// shift those of another.
    pub fn fork(&self, purpose: u64) -> Self {
        Stream(mix(self.0 ^ mix(purpose.wrapping_mul(STEP))))
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an endless stream is not an iterator that ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `low` to `high`, both inclusive.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True with a probability of `percent`.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

impl ike::Random for Stream {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers_of_the_generator() {
        let mut stream = Stream(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| stream.next()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn forks_are_independent_of_what_was_drawn_elsewhere() {
        let root = Stream::new(7);
        let (mut a, mut b) = (root.fork(1), root.fork(2));
        let first = b.next();
        a.next();
        assert_eq!(root.fork(2).next(), first);
        assert_ne!(root.fork(1).next(), first);
    }
}
