//! Packets that wait to be encrypted or decrypted, in this worker or in the worker that owns the
//! SA.

use crate::path::packet::Packet;
use af_xdp::Frame;
use sa_table::SlotWord;
use std::ops::Range;

/// A packet that waits to be encrypted.
#[derive(Debug)]
pub struct OutboundItem {
    pub(crate) word: SlotWord,
    pub(crate) packet: Packet,
    /// Position in the burst, which is kept within a group.
    pub(crate) order: u32,
}

/// An ESP packet that waits to be decrypted.
#[derive(Debug)]
pub struct InboundItem {
    pub(crate) word: SlotWord,
    /// The outer packet.
    pub(crate) packet: Packet,
    /// Position of ESP in the outer packet.
    pub(crate) esp: Range<usize>,
    /// UDP source port of the peer; 0 without UDP encapsulation.
    pub(crate) peer_port: u16,
}

/// A packet for the worker that owns its SA. The owner checks the slot word again.
#[derive(Debug)]
pub enum Handoff {
    /// To be encrypted.
    Outbound(OutboundItem),
    /// To be decrypted.
    Inbound(InboundItem),
}

impl Handoff {
    /// The frame of a packet that is dropped.
    pub(crate) fn into_frame(self) -> Frame {
        match self {
            Handoff::Outbound(item) => item.packet.frame,
            Handoff::Inbound(item) => item.packet.frame,
        }
    }
}
