//! The programs in the kernel. `tohub_ingress` (XDP) gives workers their packets. The guard, `tohub_departure` and
//! `tohub_arrival` (tcx), drops what may only travel sealed; it fails closed: what it cannot read is dropped when it could
//! be protected.
#![no_std]
#![no_main]

mod address;
mod count;
mod guard;
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

/// Runs on every packet that the kernel transmits by a device. AF_XDP transmission does not pass here.
#[classifier]
pub fn tohub_departure(context: TcContext) -> i32 {
    guard::departure::decide(&context)
}

/// Runs on every packet that the kernel receives by a device, hence on none that XDP took.
#[classifier]
pub fn tohub_arrival(context: TcContext) -> i32 {
    guard::arrival::decide(&context)
}

// No helper that these programs call is reserved for GPL programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
