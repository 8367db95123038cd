//! Address classes, and what peers send to one of our own crypto addresses.

use aya_ebpf::maps::lpm_trie::Key;
use ebpf_abi::{CLASS_DESTINATION, CLASS_SOURCE};

use crate::maps::{CLASSES_V4, CLASSES_V6};
use crate::packet::Packet;
use crate::summary::{PROTOCOL_ESP, PROTOCOL_UDP, Part, Summary, load_within};

pub const PORT_IKE: u16 = 500;
pub const PORT_NAT_T: u16 = 4500;
const UDP_LENGTH: usize = 8;

/// The `CLASS_…` bits of an address.
#[inline(always)]
pub fn class(version: u8, address: &[u32; 4]) -> u32 {
    let found = match version {
        4 => CLASSES_V4.get(Key::new(32, [address[0]])),
        _ => CLASSES_V6.get(Key::new(128, *address)),
    };
    found.copied().unwrap_or(0)
}

/// Whether a packet between addresses of these classes can match a permit as written.
#[inline(always)]
pub fn outbound(source: u32, destination: u32) -> bool {
    source & CLASS_SOURCE != 0 && destination & CLASS_DESTINATION != 0
}

/// Whether a packet between addresses of these classes can match the mirror of a permit.
#[inline(always)]
pub fn mirrored(source: u32, destination: u32) -> bool {
    outbound(destination, source)
}

pub enum Owner {
    Worker,
    Ike,
    Undecided,
}

/// Who a packet to one of our crypto addresses is for.
#[inline(always)]
pub fn for_own_address(packet: &impl Packet, summary: &Summary) -> Owner {
    if summary.is_opaque() {
        return Owner::Undecided;
    }
    match summary.protocol {
        PROTOCOL_ESP => Owner::Worker,
        // The kernel reassembles for the IKE socket. Later parts come to nothing without a first one.
        PROTOCOL_UDP if summary.part == Part::Later => Owner::Ike,
        PROTOCOL_UDP if !summary.shows_ports() => Owner::Undecided,
        PROTOCOL_UDP => match summary.destination_port {
            PORT_IKE => Owner::Ike,
            PORT_NAT_T if summary.part == Part::First => Owner::Ike,
            PORT_NAT_T => {
                match load_within::<[u8; 4]>(packet, summary.payload + UDP_LENGTH, summary.end) {
                    // RFC 3948 §2.2 and §2.3: the non-ESP marker, and the keepalive of one octet.
                    Some([0, 0, 0, 0]) | None => Owner::Ike,
                    Some(_) => Owner::Worker,
                }
            }
            _ => Owner::Undecided,
        },
        _ => Owner::Undecided,
    }
}
