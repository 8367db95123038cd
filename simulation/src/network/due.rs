//! What waits in the queue of a network, who sends, and what is written down.

use std::net::{IpAddr, SocketAddr};

use sa_table::FiveTuple;

use crate::plane::Sealed;

/// An application that sends packets through a gateway and waits for answers.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The gateway in front of the sender.
    pub gateway: usize,
    /// The packets.
    pub tuple: FiveTuple,
    /// Milliseconds between two packets; 0 while it is silent.
    pub interval: u64,
    /// Since when it sends at this interval.
    pub since: u64,
    /// Packets so far.
    pub sent: u64,
    /// Answers so far.
    pub answered: u64,
    /// The last answer.
    pub last_answer: u64,
    /// For each packet: when it was sent and when it was answered; kept on demand.
    pub journal: Option<Vec<(u64, Option<u64>)>>,
    pub(super) epoch: u64,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the beginning.
    pub at: u64,
    /// Who it is about.
    pub who: String,
    /// What happened.
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
