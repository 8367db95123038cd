//! Index arithmetic of one single-producer single-consumer ring: the only place that computes with
//! ring positions.
//!
//! Both indices are free-running `u32` that wrap; an entry's slot is the index modulo the ring
//! size, which is a power of two. Either side keeps a private copy of its own index and of the last
//! one it saw from the other side, and reads the shared word only when the private copies do not
//! suffice (the same scheme as the kernel's `net/xdp/xsk_queue.h`). The code is generic over the
//! shared word so that loom checks exactly what runs on the mapping.

/// A shared 32-bit word with the two orderings that a ring needs.
pub(crate) trait Word {
    /// Reads with acquire ordering: entries written before the matching release are visible.
    fn load_acquire(&self) -> u32;
    /// Writes with release ordering: entries touched before are published with it.
    fn store_release(&self, value: u32);
}

impl Word for std::sync::atomic::AtomicU32 {
    fn load_acquire(&self) -> u32 {
        self.load(std::sync::atomic::Ordering::Acquire)
    }
    fn store_release(&self, value: u32) {
        self.store(value, std::sync::atomic::Ordering::Release);
    }
}

/// The producing side's view of a ring.
#[derive(Debug)]
pub(crate) struct ProducerCursor {
    size: u32,
    /// Next index to write; entries before it are published.
    next: u32,
    /// The consumer's index plus the ring size, as last seen: the first index that may not be
    /// written.
    limit: u32,
}

impl ProducerCursor {
    /// `size` is a power of two; `producer` and `consumer` are the shared words as found.
    pub(crate) fn new(size: u32, producer: u32, consumer: u32) -> ProducerCursor {
        debug_assert!(size.is_power_of_two());
        ProducerCursor { size, next: producer, limit: consumer.wrapping_add(size) }
    }

    /// How many entries may be written, at most `wanted`.
    pub(crate) fn free(&mut self, consumer: &impl Word, wanted: u32) -> u32 {
        let known = self.limit.wrapping_sub(self.next);
        if known >= wanted {
            return wanted;
        }
        self.limit = consumer.load_acquire().wrapping_add(self.size);
        // A consumer index ahead of the producer's would claim more room than the ring has: treat
        // it as no room.
        let free = self.limit.wrapping_sub(self.next);
        if free > self.size {
            self.limit = self.next;
            return 0;
        }
        free.min(wanted)
    }

    /// Slot of the `offset`-th entry that is not yet published; `offset` is below what
    /// [`free`](Self::free) returned.
    pub(crate) fn slot(&self, offset: u32) -> usize {
        (self.next.wrapping_add(offset) & (self.size - 1)) as usize
    }

    /// Publishes the next `count` entries.
    pub(crate) fn publish(&mut self, producer: &impl Word, count: u32) {
        self.next = self.next.wrapping_add(count);
        producer.store_release(self.next);
    }

    /// Whether the other side has consumed everything that was published.
    pub(crate) fn is_drained(&mut self, consumer: &impl Word) -> bool {
        let seen = consumer.load_acquire();
        self.limit = seen.wrapping_add(self.size);
        seen == self.next
    }
}

/// The consuming side's view of a ring.
#[derive(Debug)]
pub(crate) struct ConsumerCursor {
    size: u32,
    /// Next index to read.
    next: u32,
    /// The producer's index as last seen.
    limit: u32,
}

impl ConsumerCursor {
    /// `size` is a power of two; `consumer` is the shared word as found.
    pub(crate) fn new(size: u32, consumer: u32) -> ConsumerCursor {
        debug_assert!(size.is_power_of_two());
        ConsumerCursor { size, next: consumer, limit: consumer }
    }

    /// How many entries may be read, at most `wanted`.
    pub(crate) fn available(&mut self, producer: &impl Word, wanted: u32) -> u32 {
        let known = self.limit.wrapping_sub(self.next);
        if known >= wanted {
            return wanted;
        }
        self.limit = producer.load_acquire();
        // More entries than the ring size are impossible: treat it as none.
        let available = self.limit.wrapping_sub(self.next);
        if available > self.size {
            self.limit = self.next;
            return 0;
        }
        available.min(wanted)
    }

    /// Slot of the `offset`-th unread entry; `offset` is below what [`available`](Self::available)
    /// returned.
    pub(crate) fn slot(&self, offset: u32) -> usize {
        (self.next.wrapping_add(offset) & (self.size - 1)) as usize
    }

    /// Gives the next `count` entries back to the producer.
    pub(crate) fn release(&mut self, consumer: &impl Word, count: u32) {
        self.next = self.next.wrapping_add(count);
        consumer.store_release(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn indices_wrap_past_the_end_of_u32() {
        let start = u32::MAX - 2;
        let (producer, consumer) = (AtomicU32::new(start), AtomicU32::new(start));
        let mut write = ProducerCursor::new(4, start, start);
        let mut read = ConsumerCursor::new(4, start);
        for round in 0..10 {
            assert_eq!(write.free(&consumer, 8), 4, "round {round}");
            write.publish(&producer, 3);
            assert_eq!(write.free(&consumer, 8), 1);
            assert_eq!(read.available(&producer, 8), 3);
            assert_eq!(read.slot(0), ((start.wrapping_add(3 * round)) % 4) as usize);
            read.release(&consumer, 3);
            assert!(write.is_drained(&consumer));
        }
    }

    #[test]
    fn an_impossible_index_from_the_other_side_yields_nothing() {
        let mut write = ProducerCursor::new(8, 0, 0);
        assert_eq!(write.free(&AtomicU32::new(5), 100), 0);
        assert_eq!(write.free(&AtomicU32::new(0), 100), 8);
        let mut read = ConsumerCursor::new(8, 0);
        assert_eq!(read.available(&AtomicU32::new(9), 100), 0);
        assert_eq!(read.available(&AtomicU32::new(u32::MAX), 100), 0);
        assert_eq!(read.available(&AtomicU32::new(8), 100), 8);
    }

    #[test]
    fn known_room_is_served_without_looking_at_the_shared_word() {
        struct Forbidden;
        impl Word for Forbidden {
            fn load_acquire(&self) -> u32 {
                panic!("the shared word was read")
            }
            fn store_release(&self, _: u32) {}
        }
        let mut write = ProducerCursor::new(8, 0, 0);
        assert_eq!(write.free(&Forbidden, 8), 8);
        let mut read = ConsumerCursor::new(8, 0);
        let producer = AtomicU32::new(0);
        producer.store(5, Ordering::Relaxed);
        assert_eq!(read.available(&producer, 1), 1);
        assert_eq!(read.available(&Forbidden, 5), 5);
    }

    impl Word for loom::sync::atomic::AtomicU32 {
        fn load_acquire(&self) -> u32 {
            self.load(loom::sync::atomic::Ordering::Acquire)
        }
        fn store_release(&self, value: u32) {
            self.store(value, loom::sync::atomic::Ordering::Release);
        }
    }

    /// Every interleaving of a producer and a consumer on a ring of two slots: loom's cells report
    /// any access to a slot that the other side may still access, and each value must arrive once
    /// and in order.
    #[test]
    fn no_interleaving_shares_a_slot_or_loses_an_entry() {
        use loom::cell::UnsafeCell;
        use loom::sync::Arc;

        struct Ring {
            producer: loom::sync::atomic::AtomicU32,
            consumer: loom::sync::atomic::AtomicU32,
            slots: [UnsafeCell<u64>; 2],
        }
        // SAFETY: the slots are touched only under the cursors' protocol, which is what this model
        // checks.
        unsafe impl Sync for Ring {}

        const START: u32 = u32::MAX;
        const COUNT: u64 = 3;
        loom::model(|| {
            let ring = Arc::new(Ring {
                producer: loom::sync::atomic::AtomicU32::new(START),
                consumer: loom::sync::atomic::AtomicU32::new(START),
                slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
            });
            let theirs = ring.clone();
            let thread = loom::thread::spawn(move || {
                let mut write = ProducerCursor::new(2, START, START);
                let mut sent = 0;
                while sent < COUNT {
                    let free = write.free(&theirs.consumer, (COUNT - sent) as u32);
                    for offset in 0..free {
                        sent += 1;
                        // SAFETY: the cursor gave this slot to the producer; loom verifies that no
                        // other thread accesses it.
                        theirs.slots[write.slot(offset)].with_mut(|slot| unsafe { *slot = sent });
                    }
                    if free == 0 {
                        loom::thread::yield_now();
                    } else {
                        write.publish(&theirs.producer, free);
                    }
                }
            });
            let mut read = ConsumerCursor::new(2, START);
            let mut received = 0;
            while received < COUNT {
                let available = read.available(&ring.producer, 2);
                for offset in 0..available {
                    // SAFETY: the cursor gave this slot to the consumer; loom verifies that no
                    // other thread accesses it.
                    let value = ring.slots[read.slot(offset)].with(|slot| unsafe { *slot });
                    received += 1;
                    assert_eq!(value, received);
                }
                if available == 0 {
                    loom::thread::yield_now();
                } else {
                    read.release(&ring.consumer, available);
                }
            }
            thread.join().unwrap();
        });
    }
}
