//! ESP sequence numbers of the sender.
//!
//! The sequence number is also the IV of AES-GCM, so a repeated number under one key destroys
//! confidentiality and integrity. The types make repetition hard: numbers are drawn in ranges, a
//! range yields each number once, and a number is consumed by the packet that carries it.

/// One sequence number that was drawn and not used yet. Not `Clone`: it can be used only once.
#[derive(Debug, PartialEq, Eq)]
pub struct SequenceNumber(u64);

impl SequenceNumber {
    /// The 64-bit number.
    pub const fn value(&self) -> u64 {
        self.0
    }
}

/// A contiguous range of drawn numbers; iterate to use them in order.
#[derive(Debug, PartialEq, Eq)]
pub struct SequenceRange {
    next: u64,
    remaining: u32,
}

impl SequenceRange {
    /// The range `first..first + count`, for implementors of [`SequenceSource`] only: the caller
    /// asserts that none of the numbers was handed out before, in this process or an earlier one.
    /// `None` if the range contains 0 or would wrap.
    pub const fn from_reserved(first: u64, count: u32) -> Option<Self> {
        if first == 0 || (count > 0 && first.checked_add(count as u64 - 1).is_none()) {
            return None;
        }
        Some(Self { next: first, remaining: count })
    }
}

impl Iterator for SequenceRange {
    type Item = SequenceNumber;

    #[inline]
    fn next(&mut self) -> Option<SequenceNumber> {
        self.remaining = self.remaining.checked_sub(1)?;
        let number = SequenceNumber(self.next);
        // At the very end of the number space the wrapped value is never yielded: nothing remains.
        self.next = self.next.wrapping_add(1);
        Some(number)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}

impl ExactSizeIterator for SequenceRange {}

/// The SA's number space is used up: no further packet may be sent under this key (RFC 4303
/// §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sequence numbers of this SA are used up: rekey")]
pub struct Exhausted;

/// The source of sequence numbers of one SA. The data plane implements it over shared memory, with
/// numbers reserved in blocks before their first use; [`SequenceCounter`] is a simple
/// implementation.
pub trait SequenceSource {
    /// Draws `count` consecutive numbers that were never handed out before, the last one at most
    /// `limit` ([`crate::OutboundSa::sequence_limit`]). All or nothing: when fewer remain, nothing
    /// is drawn.
    fn draw(&mut self, count: u32, limit: u64) -> Result<SequenceRange, Exhausted>;
}

/// A counter in private memory, starting at 1 (RFC 4303 §2.2).
#[derive(Debug)]
pub struct SequenceCounter {
    last: u64,
}

impl SequenceCounter {
    /// A counter for a fresh key.
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// A counter that continues after `last`, the highest number that may have been used.
    pub const fn resume_after(last: u64) -> Self {
        Self { last }
    }

    /// The highest number handed out.
    pub const fn last(&self) -> u64 {
        self.last
    }
}

impl Default for SequenceCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl SequenceSource for SequenceCounter {
    fn draw(&mut self, count: u32, limit: u64) -> Result<SequenceRange, Exhausted> {
        let first = self.last.checked_add(1).ok_or(Exhausted)?;
        let last = self.last.checked_add(u64::from(count)).filter(|last| *last <= limit).ok_or(Exhausted)?;
        let range = SequenceRange::from_reserved(first, count).ok_or(Exhausted)?;
        self.last = last;
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(range: SequenceRange) -> Vec<u64> {
        range.map(|number| number.value()).collect()
    }

    #[test]
    fn a_fresh_counter_starts_at_one_and_never_repeats() {
        let mut counter = SequenceCounter::new();
        assert_eq!(values(counter.draw(3, u64::MAX).unwrap()), [1, 2, 3]);
        assert_eq!(values(counter.draw(2, u64::MAX).unwrap()), [4, 5]);
        assert_eq!(values(counter.draw(0, u64::MAX).unwrap()), [0; 0]);
        assert_eq!(values(counter.draw(1, u64::MAX).unwrap()), [6]);
    }

    #[test]
    fn a_32_bit_space_ends_at_its_last_number_and_stays_ended() {
        let limit = u64::from(u32::MAX);
        let mut counter = SequenceCounter::resume_after(limit - 2);
        assert_eq!(counter.draw(3, limit), Err(Exhausted));
        assert_eq!(values(counter.draw(2, limit).unwrap()), [limit - 1, limit]);
        assert_eq!(counter.draw(1, limit), Err(Exhausted));
        assert_eq!(counter.last(), limit);
    }

    #[test]
    fn the_64_bit_space_does_not_wrap() {
        let mut counter = SequenceCounter::resume_after(u64::MAX - 1);
        assert_eq!(values(counter.draw(1, u64::MAX).unwrap()), [u64::MAX]);
        assert_eq!(counter.draw(1, u64::MAX), Err(Exhausted));
        assert_eq!(counter.draw(0, u64::MAX), Err(Exhausted));
        assert_eq!(SequenceRange::from_reserved(u64::MAX, 2), None);
        assert_eq!(SequenceRange::from_reserved(0, 1), None);
    }
}
