//! Packets that wait for their SA's stage, in this worker or in the worker that owns the SA.

use crate::path::packet::Packet;
use af_xdp::Frame;
use sa_table::SlotWord;
use std::ops::Range;

/// A packet that waits to be sealed.
#[derive(Debug)]
pub struct OutboundItem {
    pub(crate) word: SlotWord,
    pub(crate) packet: Packet,
    /// Place in the burst, which groups keep.
    pub(crate) order: u32,
}

/// An ESP packet that waits to be opened.
#[derive(Debug)]
pub struct InboundItem {
    pub(crate) word: SlotWord,
    /// The outer packet.
    pub(crate) packet: Packet,
    /// Where ESP lies in it.
    pub(crate) esp: Range<usize>,
    /// UDP source port of the peer; 0 without UDP encapsulation.
    pub(crate) peer_port: u16,
}

/// A packet for the worker that owns its SA. The slot word is checked again there.
#[derive(Debug)]
pub enum Handoff {
    /// To be sealed.
    Outbound(OutboundItem),
    /// To be opened.
    Inbound(InboundItem),
}

impl Handoff {
    /// The frame of a packet that goes no further.
    pub(crate) fn into_frame(self) -> Frame {
        match self {
            Handoff::Outbound(item) => item.packet.frame,
            Handoff::Inbound(item) => item.packet.frame,
        }
    }
}
