//! Bounded reads from a frame, the same for both kinds of program.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};

/// How far into a frame XDP reads through a packet pointer; behind it through a helper.
const REACH: usize = 1024;

const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

pub trait Packet {
    /// Copies `T` out of the frame; `None` when the frame ends before. `T` must be valid for every bit pattern
    /// (integers, arrays of them).
    fn load<T: Copy>(&self, offset: usize) -> Option<T>;

    /// The same by a helper: slower, and one path less for the verifier. For what few packets have.
    fn load_rare<T: Copy>(&self, offset: usize) -> Option<T>;

    /// Octets of the whole frame, all its buffers together.
    fn length(&self) -> usize;

    /// Whether the kernel will cut the packet into segments, or made it of several. Above 64 KiB (BIG TCP) the length in
    /// its IP header is zero.
    fn is_merged(&self) -> bool;

    /// Whether the kernel takes the packet for IP, whatever stands where an Ethernet header would have its type.
    fn kernel_says_ip(&self) -> bool;

    /// Zero, in a form that the verifier does not see through: no packet has 2 GiB.
    #[inline(always)]
    fn unknown_zero(&self) -> u32 {
        self.length() as u32 >> 31
    }
}

impl Packet for XdpContext {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        // The verifier wants a constant bound on a variable offset before it is added to a packet pointer.
        if offset <= REACH {
            let start = self.data() + offset;
            if start + size_of::<T>() <= self.data_end() {
                // SAFETY: the range lies inside the frame's first buffer; T is valid for every bit pattern (see the trait).
                return Some(unsafe { (start as *const T).read_unaligned() });
            }
        }
        load_by_helper(self, offset)
    }

    #[inline(always)]
    fn load_rare<T: Copy>(&self, offset: usize) -> Option<T> {
        load_by_helper(self, offset)
    }

    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn is_merged(&self) -> bool {
        false
    }

    #[inline(always)]
    fn kernel_says_ip(&self) -> bool {
        false
    }
}

/// A frame of several buffers may have its headers behind the first one.
#[inline(always)]
fn load_by_helper<T: Copy>(context: &XdpContext, offset: usize) -> Option<T> {
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
        TcContext::load(self, offset).ok()
    }

    #[inline(always)]
    fn load_rare<T: Copy>(&self, offset: usize) -> Option<T> {
        TcContext::load(self, offset).ok()
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.len() as usize
    }

    #[inline(always)]
    fn is_merged(&self) -> bool {
        // SAFETY: the context is valid for the whole run of the program.
        unsafe { (*self.skb.skb).gso_size != 0 }
    }

    #[inline(always)]
    fn kernel_says_ip(&self) -> bool {
        // SAFETY: the context is valid for the whole run of the program.
        matches!(unsafe { (*self.skb.skb).protocol }, ETH_P_IP | ETH_P_IPV6)
    }
}
