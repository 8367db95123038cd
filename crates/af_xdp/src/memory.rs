//! A simulated kernel in memory: sockets whose rings lie in ordinary memory, with the kernel's side
//! driven by the caller.
//!
//! Tests and benchmarks run the data plane's real packet code over it, without root, a device or a
//! system call. The kernel's side obeys the same protocol over the same cursors as the real one: it
//! takes frames from the fill ring, writes packets into them, publishes descriptors, takes
//! descriptors from the TX ring and completes them.

use crate::bind::{Mode, new_id};
use crate::error::Error;
use crate::mapping::Mapping;
use crate::ring::{Consumer, Descriptor, Entry, Offsets, Producer};
use crate::socket::{Backend, Label, Rings, Socket};
use crate::umem::{FRAME_SIZE, Reclaim, Umem};
use std::sync::Arc;

/// One cache line for each of the three words, then the entries.
const OFFSETS: Offsets = Offsets { producer: 0, consumer: 64, flags: 128, entries: 192 };

/// The kernel's side of one socket.
#[derive(Debug)]
pub struct MemoryKernel {
    fill: Consumer<u64>,
    rx: Producer<Descriptor>,
    tx: Consumer<Descriptor>,
    completion: Producer<u64>,
    /// Frames taken from the fill ring and not used yet.
    filled: Vec<u64>,
    reclaim: Arc<Reclaim>,
}

/// Makes a socket over rings of `ring_size` entries (a power of two) and the kernel behind it.
///
/// # Errors
/// [`Error::BadSize`] for a size that is no power of two, [`Error::NoMemory`].
pub fn socket(
    umem: &Umem,
    interface: &str,
    queue: u32,
    ring_size: u32,
) -> Result<(Socket, MemoryKernel), Error> {
    let id = new_id(umem)?;
    let handle = umem.handle.clone();
    let reclaim = Arc::new(Reclaim {
        handle: handle.clone(),
        socket: id,
        reuse_received: true,
        reuse_transmitted: true,
    });
    let (fill, kernel_fill) = ring::<u64>(ring_size)?;
    let (kernel_rx, rx) = ring::<Descriptor>(ring_size)?;
    let (tx, kernel_tx) = ring::<Descriptor>(ring_size)?;
    let (kernel_completion, completion) = ring::<u64>(ring_size)?;
    let rings = Rings { fill, rx, tx, completion, fill_size: ring_size };
    let label = Label { interface: interface.to_owned(), queue };
    let socket =
        Socket::new(label, Mode::Memory, id, rings, handle, Backend::Memory { _reclaim: reclaim.clone() });
    let kernel = MemoryKernel {
        fill: kernel_fill,
        rx: kernel_rx,
        tx: kernel_tx,
        completion: kernel_completion,
        filled: Vec::with_capacity(ring_size as usize),
        reclaim,
    };
    Ok((socket, kernel))
}

fn ring<T: Entry>(size: u32) -> Result<(Producer<T>, Consumer<T>), Error> {
    let bad = || Error::BadSize { what: "ring size", value: size.into(), must: "a power of two" };
    let memory = Arc::new(Mapping::heap(OFFSETS.entries as usize + size as usize * size_of::<T>())?);
    let producer = Producer::new(memory.clone(), OFFSETS, size).ok_or_else(bad)?;
    let consumer = Consumer::new(memory, OFFSETS, size).ok_or_else(bad)?;
    Ok((producer, consumer))
}

impl MemoryKernel {
    /// Receives a packet from the wire. `false` if it was lost: no frame in the fill ring, no room
    /// in the RX ring, or longer than a frame.
    pub fn deliver(&mut self, packet: &[u8]) -> bool {
        self.deliver_burst(std::iter::once(packet)) == 1
    }

    /// Receives packets and publishes them together. Returns how many were not lost.
    pub fn deliver_burst<'p>(&mut self, packets: impl Iterator<Item = &'p [u8]>) -> u32 {
        let start = usize::from(self.reclaim.handle.shared().headroom());
        let mut delivered = 0;
        for packet in packets {
            if packet.len() > FRAME_SIZE - start || self.rx.free(delivered + 1) <= delivered {
                continue;
            }
            let Some(addr) = self.next_filled() else { continue };
            let addr = addr - addr % FRAME_SIZE as u64 + start as u64;
            self.write(addr, packet);
            self.rx.write(delivered, Descriptor { addr, len: packet.len() as u32, options: 0 });
            delivered += 1;
        }
        self.rx.publish(delivered);
        delivered
    }

    /// Transmits everything in the TX ring: calls `wire` with each packet in order and completes
    /// it. Returns how many.
    pub fn transmit(&mut self, mut wire: impl FnMut(&[u8])) -> u32 {
        let available = self.tx.available(u32::MAX);
        let room = self.completion.free(available);
        for offset in 0..room {
            let Some(descriptor) = self.tx.read(offset) else { break };
            wire(self.read(descriptor));
            self.completion.write(offset, descriptor.addr);
        }
        self.tx.release(room);
        self.completion.publish(room);
        room
    }

    /// All packets of the TX ring, copied out.
    pub fn transmitted(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        self.transmit(|packet| packets.push(packet.to_vec()));
        packets
    }

    /// Sets the wake-up request of the fill and TX rings, as a kernel does that went to sleep.
    pub fn request_wakeup(&mut self, wanted: bool) {
        self.fill.request_wakeup(wanted);
        self.tx.request_wakeup(wanted);
    }

    /// Publishes a descriptor that a correct kernel would not, to test the checks of user space.
    #[cfg(test)]
    fn publish_raw(&mut self, addr: u64, len: u32, options: u32) -> bool {
        if self.rx.free(1) == 0 {
            return false;
        }
        self.rx.write(0, Descriptor { addr, len, options });
        self.rx.publish(1);
        true
    }

    /// Completes an address that a correct kernel would not.
    #[cfg(test)]
    fn complete_raw(&mut self, addr: u64) -> bool {
        if self.completion.free(1) == 0 {
            return false;
        }
        self.completion.write(0, addr);
        self.completion.publish(1);
        true
    }

    fn next_filled(&mut self) -> Option<u64> {
        if self.filled.is_empty() {
            let room = self.filled.capacity() as u32;
            let available = self.fill.available(room);
            self.filled.extend((0..available).rev().filter_map(|offset| self.fill.read(offset)));
            self.fill.release(available);
        }
        self.filled.pop()
    }

    fn write(&mut self, addr: u64, packet: &[u8]) {
        let base = self.reclaim.handle.shared().memory().base();
        // SAFETY: addr lies in the region: it came from the fill ring, and start + length is at
        // most a frame.
        let to = unsafe { base.add(addr as usize) };
        // SAFETY: the frame was lent by the socket through the fill ring, so no handle to it
        // exists; the packet is ordinary memory of the caller and cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(packet.as_ptr(), to.as_ptr(), packet.len()) }
    }

    fn read(&self, descriptor: Descriptor) -> &[u8] {
        let base = self.reclaim.handle.shared().memory().base();
        // SAFETY: the TX ring is written by `Socket::send` only, with the bounds of a frame's
        // packet.
        let from = unsafe { base.add(descriptor.addr as usize) };
        // SAFETY: as above; the frame belongs to this side until it is completed, so user space
        // does not write to it.
        unsafe { std::slice::from_raw_parts(from.as_ptr(), descriptor.len as usize) }
    }
}

#[cfg(test)]
#[path = "memory/tests.rs"]
mod tests;
