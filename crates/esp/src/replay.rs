//! Anti-replay window and inference of extended sequence numbers (RFC 4303 §3.4.3, appendix A).
//!
//! The window is a ring of bits, bit `sequence mod size`, as RFC 6479 describes, with the
//! difference that bits which leave the window are cleared with masks instead of whole words. So a
//! window of N packets needs exactly N bits and tracks exactly N packets, and advancing by one
//! touches one word.
//!
//! The state lives in the caller's [`ReplayStore`], for the data plane in memory that survives a
//! restart.

use std::cell::Cell;

/// Words of the largest window, 4096 packets.
pub const MAX_REPLAY_WORDS: usize = ReplayWindow::MAX_SIZE as usize / 64;

/// Storage of one SA's replay state: the highest authenticated sequence number and the bitmap.
///
/// There is one writer. All-zero state means that nothing was received. `word` and `set_word` get
/// indices below [`ReplayWindow::words`].
pub trait ReplayStore {
    /// Highest authenticated sequence number; 0 before the first packet.
    fn top(&self) -> u64;
    /// Replaces the highest sequence number.
    fn set_top(&self, top: u64);
    /// One word of the bitmap.
    fn word(&self, index: usize) -> u64;
    /// Replaces one word of the bitmap.
    fn set_word(&self, index: usize, bits: u64);
}

impl<S: ReplayStore + ?Sized> ReplayStore for &S {
    fn top(&self) -> u64 {
        (**self).top()
    }
    fn set_top(&self, top: u64) {
        (**self).set_top(top);
    }
    fn word(&self, index: usize) -> u64 {
        (**self).word(index)
    }
    fn set_word(&self, index: usize, bits: u64) {
        (**self).set_word(index, bits);
    }
}

/// Replay state in private memory, large enough for every window.
#[derive(Debug)]
pub struct LocalReplayStore {
    top: Cell<u64>,
    words: [Cell<u64>; MAX_REPLAY_WORDS],
}

impl LocalReplayStore {
    /// State of an SA that has received nothing.
    pub const fn new() -> Self {
        Self { top: Cell::new(0), words: [const { Cell::new(0) }; MAX_REPLAY_WORDS] }
    }
}

impl Default for LocalReplayStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayStore for LocalReplayStore {
    fn top(&self) -> u64 {
        self.top.get()
    }
    fn set_top(&self, top: u64) {
        self.top.set(top);
    }
    fn word(&self, index: usize) -> u64 {
        self.words.get(index).map_or(u64::MAX, Cell::get)
    }
    fn set_word(&self, index: usize, bits: u64) {
        if let Some(word) = self.words.get(index) {
            word.set(bits);
        }
    }
}

/// Why a sequence number is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReplayError {
    /// Sequence number 0, which no sender uses.
    #[error("sequence number 0")]
    Zero,
    /// Left of the window.
    #[error("sequence number is left of the replay window")]
    TooOld,
    /// Inside the window and received before.
    #[error("sequence number was received before")]
    Replayed,
}

/// Size and number format of an SA's anti-replay service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    size: u32,
    extended: bool,
}

impl ReplayWindow {
    /// Smallest window in packets.
    pub const MIN_SIZE: u32 = 64;
    /// Largest window in packets.
    pub const MAX_SIZE: u32 = 4096;

    /// A window of `size` packets, a power of two in 64..=4096; or 0, which turns the service off
    /// and is allowed only without extended sequence numbers (RFC 4303 §3.3.3). `None` for any
    /// other size.
    pub const fn new(size: u32, extended: bool) -> Option<Self> {
        let regular = size.is_power_of_two() && Self::MIN_SIZE <= size && size <= Self::MAX_SIZE;
        if regular || (size == 0 && !extended) { Some(Self { size, extended }) } else { None }
    }

    /// Packets that the window spans; 0 when the service is off.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// Whether sequence numbers are extended to 64 bits.
    pub const fn is_extended(self) -> bool {
        self.extended
    }

    /// Words of bitmap that a [`ReplayStore`] must have.
    pub const fn words(self) -> usize {
        self.size as usize / 64
    }

    /// The full sequence number of a packet that carries `low`, before authentication. With
    /// extended numbers the upper half is inferred and confirmed by the ICV; `None` when every
    /// candidate is left of the number space.
    #[inline]
    pub fn infer<S: ReplayStore>(self, store: &S, low: u32) -> Option<u64> {
        if self.extended {
            infer_extended_sequence(store.top(), self.size, low)
        } else {
            Some(u64::from(low))
        }
    }

    /// Whether `sequence` may be accepted. Changes nothing; called before and again after
    /// authentication.
    #[inline]
    pub fn check<S: ReplayStore>(self, store: &S, sequence: u64) -> Result<(), ReplayError> {
        if self.size == 0 {
            return Ok(());
        }
        if sequence == 0 {
            return Err(ReplayError::Zero);
        }
        let top = store.top();
        if sequence > top {
            return Ok(());
        }
        if top - sequence >= u64::from(self.size) {
            return Err(ReplayError::TooOld);
        }
        let (index, bit) = self.place(sequence);
        if store.word(index) & bit != 0 { Err(ReplayError::Replayed) } else { Ok(()) }
    }

    /// Checks `sequence` and marks it received. Only for a packet that was authenticated.
    ///
    /// The top is stored first: if the process dies in between, stale bits refuse packets that were
    /// never seen, but none that was delivered is accepted twice.
    #[inline]
    pub fn commit<S: ReplayStore>(self, store: &S, sequence: u64) -> Result<(), ReplayError> {
        self.check(store, sequence)?;
        if self.size == 0 {
            // The top is still kept: it is shown to the operator.
            if sequence > store.top() {
                store.set_top(sequence);
            }
            return Ok(());
        }
        let top = store.top();
        if sequence > top {
            store.set_top(sequence);
            self.clear_between(store, top, sequence);
        }
        let (index, bit) = self.place(sequence);
        store.set_word(index, store.word(index) | bit);
        Ok(())
    }

    #[inline(always)]
    fn place(self, sequence: u64) -> (usize, u64) {
        let position = sequence & u64::from(self.size - 1);
        ((position / 64) as usize, 1 << (position % 64))
    }

    /// Clears the bits of `top + 1 ..= new`, whose places held numbers that have left the window.
    #[inline]
    fn clear_between<S: ReplayStore>(self, store: &S, top: u64, new: u64) {
        let size = u64::from(self.size);
        if new - top >= size {
            for index in 0..self.words() {
                store.set_word(index, 0);
            }
            return;
        }
        let mut first = top + 1;
        while first <= new {
            // One step per word: from `first` to the end of its word or to `new`.
            let (index, _) = self.place(first);
            let count = (64 - first % 64).min(new - first + 1);
            let mask = (u64::MAX >> (64 - count)) << (first % 64);
            store.set_word(index, store.word(index) & !mask);
            match first.checked_add(count) {
                Some(next) => first = next,
                None => break,
            }
        }
    }
}

/// The 64-bit sequence number whose lower half is `low`, given the highest authenticated number and
/// the window size in packets (RFC 4303 appendix A2.1): the candidate that lies inside the window,
/// or else the next one ahead of it.
///
/// `None` when the number would lie before the beginning or behind the end of the number space.
#[inline]
pub fn infer_extended_sequence(top: u64, window: u32, low: u32) -> Option<u64> {
    let top_low = top as u32;
    let top_high = (top >> 32) as u32;
    let bottom = top_low.wrapping_sub(window - 1);
    let high = if top_low >= window - 1 {
        if low >= bottom { top_high } else { top_high.checked_add(1)? }
    } else if low >= bottom {
        top_high.checked_sub(1)?
    } else {
        top_high
    };
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests;
