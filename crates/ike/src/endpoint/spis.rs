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
    /// How many are given out.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None is given out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
