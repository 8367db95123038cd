//! The checkpoint segment: the state from which a restarted control plane continues.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::layout::{Capacities, CheckpointLayout};
use crate::mapping::WritableMapping;
use crate::protocol::double_buffer::{self, Buffer, Writer};

/// The stored state of the control plane. It may hold keys of IKE SAs; the data plane never maps
/// it.
pub struct Checkpoint {
    mapping: WritableMapping,
    layout: CheckpointLayout,
    writer: Writer,
}

/// The value was not stored; the previous one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a checkpoint of {given} octets does not fit into {capacity}; raise the capacity checkpoint_words and restart tohub supervise"
)]
pub struct CheckpointTooLarge {
    /// Octets of the value.
    pub given: usize,
    /// Octets that fit.
    pub capacity: usize,
}

impl Checkpoint {
    pub(crate) fn new(mapping: WritableMapping, capacities: &Capacities) -> Self {
        Self { mapping, layout: CheckpointLayout::new(capacities), writer: Writer::default() }
    }

    /// Octets that fit.
    pub fn capacity(&self) -> usize {
        let [first, _] = self.buffers();
        first.capacity()
    }

    /// Stores a value and returns its number. Call it before sending a message that depends on the
    /// value. The previous value is kept until the new one is complete, even if this process dies
    /// in between.
    ///
    /// # Errors
    /// The value is too large.
    pub fn store(&mut self, bytes: &[u8]) -> Result<u64, CheckpointTooLarge> {
        let capacity = self.capacity();
        if bytes.len() > capacity {
            return Err(CheckpointTooLarge { given: bytes.len(), capacity });
        }
        let mut writer = std::mem::take(&mut self.writer);
        let [first, second] = self.buffers();
        let number = writer.store([&first, &second], bytes);
        self.writer = writer;
        Ok(number)
    }

    /// The newest complete value and its number; `None` if none was stored.
    pub fn load(&self) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let [first, second] = self.buffers();
        double_buffer::load([&first, &second])
    }

    /// Erases both buffers: nothing can be restored afterwards.
    pub fn clear(&mut self) {
        self.writer = Writer::default();
        let [first, second] = self.buffers();
        double_buffer::clear([&first, &second]);
    }

    fn buffers(&self) -> [Buffer<'_, core::sync::atomic::AtomicU64>; 2] {
        let words = self.mapping.words();
        [0, 1].map(|index| Buffer {
            head: self.layout.heads.item(words, index).unwrap_or_default(),
            content: self.layout.buffers.item(words, index).unwrap_or_default(),
        })
    }
}
