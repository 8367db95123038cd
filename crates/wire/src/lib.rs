//! Header views, builders and checksums for the packets that tohub handles.
//!
//! Purpose: gives each protocol header a *checked view* and a *builder*. A view is made by
//! `new_checked`, which verifies every length that its accessors rely on; afterwards no accessor
//! can panic, whatever the bytes are. A builder (`Header`, `Message`, ...) is a plain struct with
//! `emit`, which writes into a caller's slice, and `parse`, its inverse. [`parse`] walks a frame
//! once and yields the small [`FrameSummary`] that classification works on.
//!
//! Not in scope: it does not allocate, do I/O, use `unsafe`, keep state, or decide about a packet.
//!
//! Caller: the data plane, and `esp` for outer headers. The BPF programs have a decoder of their
//! own, because the verifier wants each read bounded where it happens.
//!
//! Byte order: network order exists only inside this crate. All numbers that go in or come out are
//! native integers, addresses are [`core::net`] types.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod arp;
mod bytes;
pub mod checksum;
mod error;
pub mod esp;
pub mod ethernet;
pub mod icmp;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod parse;
pub mod protocol;
pub mod tcp;
pub mod udp;

pub use error::WireError;
pub use ethernet::MacAddress;
pub use parse::{FrameSummary, IpSummary, ParseError, Upper};
