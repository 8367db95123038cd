//! SPIs for an endpoint that has the ESP SPI space for itself.

use std::collections::BTreeSet;

use crate::config::SpiSource;
use crate::random::{Random, draw_u64};

/// The SPI source of an endpoint that has the ESP SPI space for itself: random, never two alike.
#[derive(Debug, Default)]
pub struct RandomSpis(BTreeSet<u32>);

impl SpiSource for RandomSpis {
    fn allocate(&mut self, random: &mut dyn Random) -> Option<u32> {
        // 2^32 numbers against at most some ten thousand in use: a few draws are enough.
        (0..64).map(|_| draw_u64(random) as u32).find(|&spi| spi >= 256 && self.0.insert(spi))
    }

    fn claim(&mut self, spi: u32) {
        self.0.insert(spi);
    }

    fn release(&mut self, spi: u32) {
        self.0.remove(&spi);
    }
}

impl RandomSpis {
    /// Number of allocated SPIs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No SPI is allocated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws small numbers for a while.
    struct Small(u64);

    impl Random for Small {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(0);
            if let Some(last) = bytes.last_mut() {
                *last = self.0 as u8;
            }
            if let Some(middle) =
                bytes.len().checked_sub(2).filter(|_| self.0 > 5).and_then(|at| bytes.get_mut(at))
            {
                *middle = 1;
            }
        }
    }

    /// RFC 4303 §2.1
    #[test]
    fn reserved_spis_are_not_given_out() {
        let mut spis = RandomSpis::default();
        assert_eq!(spis.allocate(&mut Small(0)), Some(0x106));
    }
}
