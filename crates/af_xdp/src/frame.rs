//! An owned frame: the packet in it, with headroom and tailroom.

use crate::umem::{FRAME_SIZE, Shared, send_frame_home};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// Sole owner of one 4096-byte frame and of the packet that lies in it:
/// `headroom ‖ packet ‖ tailroom`.
///
/// Dropping it returns the frame to the UMEM's home queue, which all workers share; the packet path
/// returns frames to its own [`FramePool`](crate::FramePool) instead.
#[derive(Debug)]
pub struct Frame {
    shared: NonNull<Shared>,
    index: u32,
    start: u16,
    len: u16,
}

// SAFETY: a frame is the only way to its bytes, and the shared part is thread-safe.
unsafe impl Send for Frame {}
// SAFETY: a shared reference to a frame only reads its bytes.
unsafe impl Sync for Frame {}

/// There are fewer bytes before or behind the packet than were asked for. The frame is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room in the frame")]
pub struct NoRoom;

impl Frame {
    /// `index` is owned by the caller, not in the home queue, and counted as a reference;
    /// `start + len` is at most [`FRAME_SIZE`].
    pub(crate) fn from_parts(shared: NonNull<Shared>, index: u32, start: u16, len: u16) -> Frame {
        debug_assert!(usize::from(start) + usize::from(len) <= FRAME_SIZE);
        Frame { shared, index, start, len }
    }

    /// Gives up ownership without returning the frame to the home queue: the caller owns the index
    /// from here on.
    pub(crate) fn into_index(self) -> u32 {
        ManuallyDrop::new(self).index
    }

    /// Which UMEM it belongs to.
    pub(crate) fn shared(&self) -> NonNull<Shared> {
        self.shared
    }

    /// Byte offset of the packet in the UMEM.
    pub(crate) fn address(&self) -> u64 {
        u64::from(self.index) * FRAME_SIZE as u64 + u64::from(self.start)
    }

    /// Number of the frame in its UMEM: stable while the handle lives, for tests and traces.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Packet length in bytes.
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// Whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Free bytes before the packet.
    pub fn headroom(&self) -> usize {
        self.start.into()
    }

    /// Free bytes behind the packet.
    pub fn tailroom(&self) -> usize {
        FRAME_SIZE - self.headroom() - self.len()
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        self.buffer().get(self.headroom()..self.headroom() + self.len()).unwrap_or_default()
    }

    /// The packet, to change in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.headroom()..self.headroom() + self.len();
        self.buffer_mut().get_mut(range).unwrap_or_default()
    }

    /// The whole frame, headroom and tailroom included. The packet is at
    /// [`headroom`](Self::headroom).
    pub fn buffer(&self) -> &[u8; FRAME_SIZE] {
        let base = self.base().cast::<[u8; FRAME_SIZE]>();
        // SAFETY: the frame lies in the mapping, which lives as long as this handle; its bytes are
        // initialised (mapped zeroed); no other owner, the kernel included, holds the frame while
        // the handle exists.
        unsafe { base.as_ref() }
    }

    /// The whole frame, to change in place. Move the packet's bounds with
    /// [`set_bounds`](Self::set_bounds).
    pub fn buffer_mut(&mut self) -> &mut [u8; FRAME_SIZE] {
        let mut base = self.base().cast::<[u8; FRAME_SIZE]>();
        // SAFETY: as for `buffer`, and the exclusive borrow of the handle makes this the only
        // reference.
        unsafe { base.as_mut() }
    }

    /// Sets the position of the packet in the frame.
    ///
    /// # Errors
    /// [`NoRoom`] if it would reach past the frame's end.
    pub fn set_bounds(&mut self, start: usize, len: usize) -> Result<(), NoRoom> {
        if start > FRAME_SIZE || len > FRAME_SIZE - start {
            return Err(NoRoom);
        }
        (self.start, self.len) = (start as u16, len as u16);
        Ok(())
    }

    /// Extends the packet by `count` bytes at its front; the new bytes hold whatever was there.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less headroom.
    pub fn grow_front(&mut self, count: usize) -> Result<(), NoRoom> {
        let start = self.headroom().checked_sub(count).ok_or(NoRoom)?;
        self.set_bounds(start, self.len() + count)
    }

    /// Cuts `count` bytes from the packet's front.
    ///
    /// # Errors
    /// [`NoRoom`] if the packet is shorter.
    pub fn shrink_front(&mut self, count: usize) -> Result<(), NoRoom> {
        let len = self.len().checked_sub(count).ok_or(NoRoom)?;
        self.set_bounds(self.headroom() + count, len)
    }

    /// Extends the packet by `count` bytes at its end; the new bytes hold whatever was there.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less tailroom.
    pub fn grow_back(&mut self, count: usize) -> Result<(), NoRoom> {
        if count > self.tailroom() {
            return Err(NoRoom);
        }
        self.set_bounds(self.headroom(), self.len() + count)
    }

    /// Cuts the packet to `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u16;
        }
    }

    /// Appends bytes to the packet.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less tailroom.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.headroom() + self.len();
        self.grow_back(bytes.len())?;
        self.buffer_mut().get_mut(end..end + bytes.len()).ok_or(NoRoom)?.copy_from_slice(bytes);
        Ok(())
    }

    fn base(&self) -> NonNull<u8> {
        // SAFETY: this frame is not in the home queue and so counts as a reference: the shared part
        // is alive.
        unsafe { self.shared.as_ref() }.frame_base(self.index)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        send_frame_home(self.shared, self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umem::{Backing, MIN_HEADROOM, Umem, UmemConfig};

    fn frame() -> Frame {
        let umem =
            Umem::new(UmemConfig { frames: 1, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap();
        umem.pool(1, 1).take().unwrap()
    }

    #[test]
    fn the_packet_grows_into_headroom_and_tailroom_and_no_further() {
        let mut frame = frame();
        assert_eq!((frame.headroom(), frame.len(), frame.tailroom()), (256, 0, 3840));
        frame.append(b"payload").unwrap();
        frame.grow_front(256).unwrap();
        assert_eq!(frame.grow_front(1), Err(NoRoom));
        assert_eq!(frame.len(), 263);
        assert_eq!(&frame.bytes()[256..], b"payload");
        frame.shrink_front(256).unwrap();
        frame.grow_back(3833).unwrap();
        assert_eq!(frame.grow_back(1), Err(NoRoom));
        assert_eq!(frame.shrink_front(3841), Err(NoRoom));
        frame.truncate(7);
        frame.truncate(100);
        assert_eq!(frame.bytes(), b"payload");
    }

    #[test]
    fn bounds_outside_the_frame_are_refused() {
        let mut frame = frame();
        assert_eq!(frame.set_bounds(4096, 1), Err(NoRoom));
        assert_eq!(frame.set_bounds(usize::MAX, 1), Err(NoRoom));
        assert_eq!(frame.set_bounds(1, usize::MAX), Err(NoRoom));
        frame.set_bounds(4096, 0).unwrap();
        assert!(frame.bytes_mut().is_empty());
    }
}
