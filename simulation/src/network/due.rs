//! The event queue of a network, its applications and its timeline.

use std::net::{IpAddr, SocketAddr};

use sa_table::FiveTuple;

use crate::plane::Sealed;

/// An application that sends packets through a gateway and expects replies.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The gateway of the sender.
    pub gateway: usize,
    /// Addresses, protocol and ports.
    pub tuple: FiveTuple,
    /// Milliseconds between two packets; 0 while it does not send.
    pub interval: u64,
    /// Since when it has sent at this interval.
    pub since: u64,
    /// Packets sent.
    pub sent: u64,
    /// Replies received.
    pub answered: u64,
    /// Time of the last reply.
    pub last_answer: u64,
    /// For each packet: the time it was sent and the time of the reply; only recorded on request.
    pub journal: Option<Vec<(u64, Option<u64>)>>,
    pub(super) epoch: u64,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the start.
    pub at: u64,
    /// The gateway.
    pub who: String,
    /// The event.
    pub text: String,
}

#[derive(Debug)]
pub(super) enum Happening {
    Ike { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Esp { from: IpAddr, to: IpAddr, sealed: Sealed },
    Send { flow: usize, epoch: u64 },
    Resolved { gateway: usize, name: String },
}

#[derive(Debug)]
pub(super) struct Due {
    pub at: u64,
    pub number: u64,
    pub what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
