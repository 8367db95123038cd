//! The four rings: cursors joined with the memory they move over.

use crate::cursor::{ConsumerCursor, ProducerCursor};
use crate::mapping::Mapping;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a ring's parts lie in its mapping, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) producer: u64,
    pub(crate) consumer: u64,
    pub(crate) flags: u64,
    pub(crate) entries: u64,
}

/// An entry of the RX and TX rings, `struct xdp_desc` (include/uapi/linux/if_xdp.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Byte offset of the packet in the UMEM.
    pub(crate) addr: u64,
    /// Packet length in bytes.
    pub(crate) len: u32,
    /// `XDP_PKT_CONTD` and friends; 0 for a whole packet.
    pub(crate) options: u32,
}

/// Types that may lie in a ring: any bit pattern is valid.
pub(crate) trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for Descriptor {}

/// A ring's memory, as one side sees it.
#[derive(Debug)]
struct View<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    /// Keeps the memory mapped.
    _memory: Arc<Mapping>,
}

// SAFETY: a view is one side of a single-producer single-consumer ring; that side may move to
// another thread.
unsafe impl<T: Entry> Send for View<T> {}

impl<T: Entry> View<T> {
    /// `None` when a part does not lie in the mapping, aligned, or the size is no power of two.
    fn new(memory: Arc<Mapping>, offsets: Offsets, size: u32) -> Option<View<T>> {
        if !size.is_power_of_two() {
            return None;
        }
        let entries_len = size_of::<T>().checked_mul(size as usize)?;
        let part = |offset: u64, len: usize, align: usize| {
            let offset = usize::try_from(offset).ok()?;
            let end = offset.checked_add(len)?;
            if end > memory.len() || !offset.is_multiple_of(align) {
                return None;
            }
            // SAFETY: offset is within the mapping, as checked above.
            Some(unsafe { memory.base().add(offset) })
        };
        Some(View {
            producer: part(offsets.producer, 4, 4)?.cast(),
            consumer: part(offsets.consumer, 4, 4)?.cast(),
            flags: part(offsets.flags, 4, 4)?.cast(),
            entries: part(offsets.entries, entries_len, align_of::<T>())?.cast(),
            size,
            _memory: memory,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points at four aligned bytes of the mapping that this view keeps; both sides use
        // atomics only.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for the producer word.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for the producer word.
        unsafe { self.flags.as_ref() }
    }

    fn slot(&self, slot: usize) -> NonNull<T> {
        debug_assert!(slot < self.size as usize);
        // SAFETY: cursors yield slots below the ring size, and that many entries lie in the
        // mapping.
        unsafe { self.entries.add(slot) }
    }
}

/// The side that writes entries: user space on fill and TX, the kernel on RX and completion.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    view: View<T>,
    cursor: ProducerCursor,
}

impl<T: Entry> Producer<T> {
    pub(crate) fn new(memory: Arc<Mapping>, offsets: Offsets, size: u32) -> Option<Producer<T>> {
        let view = View::new(memory, offsets, size)?;
        let producer = view.producer().load(Ordering::Relaxed);
        let consumer = view.consumer().load(Ordering::Acquire);
        Some(Producer { view, cursor: ProducerCursor::new(size, producer, consumer) })
    }

    /// How many entries can be written now, at most `wanted`.
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        self.cursor.free(self.view.consumer(), wanted)
    }

    /// Writes the `offset`-th unpublished entry. `offset` must be below what [`free`](Self::free)
    /// just returned; other offsets are ignored.
    pub(crate) fn write(&mut self, offset: u32, entry: T) {
        if self.cursor.free(self.view.consumer(), offset + 1) <= offset {
            debug_assert!(false, "ring entry written beyond the free room");
            return;
        }
        let slot = self.view.slot(self.cursor.slot(offset));
        // SAFETY: the cursor says that the slot is not published, so only this side touches it.
        unsafe { slot.write(entry) }
    }

    /// Makes the next `count` entries visible to the other side.
    pub(crate) fn publish(&mut self, count: u32) {
        self.cursor.publish(self.view.producer(), count);
    }

    /// Whether the consumer took everything.
    pub(crate) fn is_drained(&mut self) -> bool {
        self.cursor.is_drained(self.view.consumer())
    }

    /// The consumer's index, to see progress.
    pub(crate) fn consumer_index(&self) -> u32 {
        self.view.consumer().load(Ordering::Relaxed)
    }

    /// Whether the kernel asks for a wake-up call. Read after publishing: the kernel sets the flag
    /// before it looks at the ring for the last time.
    pub(crate) fn needs_wakeup(&self) -> bool {
        std::sync::atomic::fence(Ordering::SeqCst);
        self.view.flags().load(Ordering::Relaxed) & crate::socket::RING_NEED_WAKEUP != 0
    }
}

/// The side that reads entries.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    view: View<T>,
    cursor: ConsumerCursor,
}

impl<T: Entry> Consumer<T> {
    pub(crate) fn new(memory: Arc<Mapping>, offsets: Offsets, size: u32) -> Option<Consumer<T>> {
        let view = View::new(memory, offsets, size)?;
        let consumer = view.consumer().load(Ordering::Relaxed);
        Some(Consumer { view, cursor: ConsumerCursor::new(size, consumer) })
    }

    /// How many entries can be read now, at most `wanted`.
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        self.cursor.available(self.view.producer(), wanted)
    }

    /// Reads the `offset`-th unread entry, if it is there.
    pub(crate) fn read(&mut self, offset: u32) -> Option<T> {
        if self.cursor.available(self.view.producer(), offset + 1) <= offset {
            return None;
        }
        let slot = self.view.slot(self.cursor.slot(offset));
        // SAFETY: the cursor says that the producer published the slot and may not touch it until
        // it is released; any bit pattern is a valid entry.
        Some(unsafe { slot.read() })
    }

    /// Gives the next `count` slots back.
    pub(crate) fn release(&mut self, count: u32) {
        self.cursor.release(self.view.consumer(), count);
    }

    /// Sets or clears the ring's wake-up request (only a kernel does).
    pub(crate) fn request_wakeup(&self, wanted: bool) {
        let flags = if wanted { crate::socket::RING_NEED_WAKEUP } else { 0 };
        self.view.flags().store(flags, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: Offsets = Offsets { producer: 0, consumer: 64, flags: 128, entries: 192 };

    fn memory(len: usize) -> Arc<Mapping> {
        Arc::new(Mapping::heap(len).unwrap())
    }

    #[test]
    fn entries_arrive_once_and_in_order_over_many_rounds() {
        let memory = memory(192 + 16 * 8);
        let mut write = Producer::<Descriptor>::new(memory.clone(), OFFSETS, 8).unwrap();
        let mut read = Consumer::<Descriptor>::new(memory, OFFSETS, 8).unwrap();
        let mut next = 0u64;
        let mut expected = 0u64;
        for round in 0..100u32 {
            let count = write.free(round % 9);
            for offset in 0..count {
                write.write(offset, Descriptor { addr: next, len: round, options: 0 });
                next += 1;
            }
            write.publish(count);
            let available = read.available(u32::MAX);
            for offset in 0..available {
                assert_eq!(read.read(offset).unwrap().addr, expected);
                expected += 1;
            }
            assert_eq!(read.read(available), None);
            read.release(available);
        }
        assert_eq!(next, expected);
        assert!(next > 300);
    }

    #[test]
    fn a_ring_that_does_not_fit_its_mapping_is_refused() {
        assert!(Producer::<u64>::new(memory(192 + 8 * 8), OFFSETS, 8).is_some());
        assert!(Producer::<u64>::new(memory(192 + 8 * 8 - 1), OFFSETS, 8).is_none());
        assert!(Producer::<u64>::new(memory(4096), OFFSETS, 7).is_none());
        let misaligned = Offsets { entries: 196, ..OFFSETS };
        assert!(Consumer::<u64>::new(memory(4096), misaligned, 8).is_none());
        let outside = Offsets { producer: u64::MAX - 3, ..OFFSETS };
        assert!(Consumer::<u64>::new(memory(4096), outside, 8).is_none());
    }
}
