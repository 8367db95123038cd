//! Where the endpoint's randomness comes from: handed in by the caller, so that a simulation
//! repeats from its seed.

/// A source of random bytes fit for keys, nonces and SPIs.
///
/// The endpoint draws everything from it: SPIs, nonces, ephemeral private keys, jitter. Two
/// endpoints fed the same bytes and datagrams do exactly the same.
pub trait Random: Send {
    /// Fills the whole slice. A source that cannot deliver must end the process: weak keys are
    /// worse than no keys.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The operating system's generator, by way of the cryptographic library.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// If the operating system delivers no random bytes (see [`Random::fill`]).
    fn fill(&mut self, bytes: &mut [u8]) {
        assert!(aws_lc_rs::rand::fill(bytes).is_ok(), "the operating system delivers no random bytes");
    }
}

/// Draws an unsigned 64-bit number.
pub(crate) fn draw_u64(random: &mut dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Draws a number in `0..bound` (0 for a `bound` of 0). The bias of the modulus is far below what
/// jitter cares for.
pub(crate) fn draw_below(random: &mut dyn Random, bound: u64) -> u64 {
    draw_u64(random).checked_rem(bound).unwrap_or(0)
}
