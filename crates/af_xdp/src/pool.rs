//! A worker's own supply of free frames.

use crate::frame::Frame;
use crate::umem::Handle;

/// Free frames of one worker: a stack, so that the frame used last (whose lines are in the cache)
/// is used next. It exchanges frames with the UMEM's home queue in batches when it runs empty or
/// over.
#[derive(Debug)]
pub struct FramePool {
    free: Vec<u32>,
    batch: usize,
    limit: usize,
    handle: Handle,
}

impl FramePool {
    pub(crate) fn new(handle: Handle, batch: usize, limit: usize) -> FramePool {
        let batch = batch.max(1);
        let limit = limit.max(batch);
        FramePool { free: Vec::with_capacity(limit + 1), batch, limit, handle }
    }

    /// An empty frame, its packet bounds at the UMEM's headroom. `None` when all frames are in use.
    pub fn take(&mut self) -> Option<Frame> {
        let index = self.take_index()?;
        let headroom = self.handle.shared().headroom();
        Some(Frame::from_parts(self.handle.pointer(), index, headroom, 0))
    }

    /// Takes a frame back. A frame of another UMEM returns to that one's home queue.
    pub fn put(&mut self, frame: Frame) {
        if frame.shared() != self.handle.pointer() {
            return;
        }
        self.put_index(frame.into_index());
    }

    /// Frames in the pool.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether the pool is empty (the home queue may still have frames).
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Returns every frame to the home queue.
    pub fn flush(&mut self) {
        self.handle.send_home(self.free.drain(..));
    }

    pub(crate) fn take_index(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            self.handle.take_home(self.batch, &mut self.free);
        }
        self.free.pop()
    }

    /// Takes over an index that the caller owns and that belongs to this pool's UMEM.
    pub(crate) fn put_index(&mut self, index: u32) {
        self.free.push(index);
        if self.free.len() > self.limit {
            let keep = self.free.len() - self.batch;
            self.handle.send_home(self.free.drain(keep..));
        }
    }

    /// Whether the socket's UMEM is this pool's.
    pub(crate) fn is_of(&self, handle: &Handle) -> bool {
        self.handle.pointer() == handle.pointer()
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use crate::umem::{Backing, MIN_HEADROOM, Umem, UmemConfig};

    fn umem(frames: u32) -> Umem {
        Umem::new(UmemConfig { frames, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap()
    }

    #[test]
    fn every_frame_is_handed_out_once() {
        let umem = umem(100);
        let mut pools = [umem.pool(7, 20), umem.pool(3, 5)];
        let mut frames = Vec::new();
        while let Some(frame) = pools[frames.len() % 2].take() {
            frames.push(frame);
        }
        frames.extend(std::iter::from_fn(|| pools[0].take()));
        frames.extend(std::iter::from_fn(|| pools[1].take()));
        let mut indices: Vec<u32> = frames.iter().map(|frame| frame.index()).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..100).collect::<Vec<_>>());
        // All frames are returned through one pool, which must not keep more than its limit.
        for frame in frames {
            pools[1].put(frame);
            assert!(pools[1].len() <= 5);
        }
        assert_eq!(umem.frames_home() + pools[0].len() + pools[1].len(), 100);
    }

    #[test]
    fn a_frame_of_another_umem_goes_to_its_own_home() {
        let (ours, theirs) = (umem(2), umem(2));
        let mut pool = ours.pool(1, 2);
        let frame = theirs.pool(1, 1).take().unwrap();
        pool.put(frame);
        assert_eq!((pool.len(), ours.frames_home(), theirs.frames_home()), (0, 2, 2));
    }

    #[test]
    fn frames_move_between_threads() {
        let umem = umem(64);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (theirs, ours) = (umem.clone(), umem.clone());
            scope.spawn(move || {
                let mut pool = theirs.pool(8, 64);
                for value in 0..1000u32 {
                    let mut frame = loop {
                        match pool.take() {
                            Some(frame) => break frame,
                            None => std::thread::yield_now(),
                        }
                    };
                    frame.append(&value.to_be_bytes()).unwrap();
                    send.send(frame).unwrap();
                }
            });
            scope.spawn(move || {
                let mut pool = ours.pool(8, 16);
                for value in 0..1000u32 {
                    let frame = receive.recv().unwrap();
                    assert_eq!(frame.bytes(), value.to_be_bytes());
                    pool.put(frame);
                }
            });
        });
        assert_eq!(umem.frames_home(), 64);
    }
}
