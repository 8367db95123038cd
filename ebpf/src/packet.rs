//! Bounded reads from a frame, the same for both kinds of program.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use aya_ebpf::programs::{TcContext, XdpContext};

/// How far into a frame the programs look: Ethernet, two tags, and the longest header chain they follow.
const REACH: usize = 1024;

pub trait Packet {
    /// Copies `T` out of the frame; `None` when the frame ends before. `T` must be valid for every bit pattern
    /// (integers, arrays of them).
    fn load<T: Copy>(&self, offset: usize) -> Option<T>;
}

impl Packet for XdpContext {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        // The verifier wants a constant bound on a variable offset before it is added to a packet pointer.
        if offset > REACH {
            return None;
        }
        let start = self.data() + offset;
        if start + size_of::<T>() <= self.data_end() {
            // SAFETY: the range lies inside the frame's first buffer; T is valid for every bit pattern (see the trait).
            return Some(unsafe { (start as *const T).read_unaligned() });
        }
        load_from_fragments(self, offset)
    }
}

/// A frame of several buffers may have its headers behind the first one.
#[inline(always)]
fn load_from_fragments<T: Copy>(context: &XdpContext, offset: usize) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly size_of::<T>() bytes to `value` or fails.
    let failed = unsafe {
        bpf_xdp_load_bytes(context.ctx, offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
    };
    if failed != 0 {
        return None;
    }
    // SAFETY: the helper succeeded, hence wrote all bytes.
    Some(unsafe { value.assume_init() })
}

impl Packet for TcContext {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        if offset > REACH {
            return None;
        }
        TcContext::load(self, offset).ok()
    }
}
