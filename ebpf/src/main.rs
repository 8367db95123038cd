//! The two programs in the kernel: `tohub_ingress` (XDP) decides who gets a packet, `tohub_egress` (tcx) drops what would
//! leave in clear. Both fail closed: what they cannot read or cannot deliver is dropped when it could be protected.
#![no_std]
#![no_main]

mod count;
mod egress;
mod ingress;
mod maps;
mod packet;
mod summary;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Runs on every frame that a data-plane port receives.
#[xdp(frags)]
pub fn tohub_ingress(context: XdpContext) -> u32 {
    ingress::decide(&context)
}

/// Runs on every packet that the kernel sends on a crypto-map interface. AF_XDP transmission does not pass here.
#[classifier]
pub fn tohub_egress(context: TcContext) -> i32 {
    egress::decide(&context)
}

// No helper that these programs call is reserved for GPL programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
