//! The network between the gateways. Each direction between two of them can be slow, lossy,
//! duplicating or cut.

use std::net::IpAddr;

use crate::random::Stream;

/// One direction between two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// Packet loss in per mille.
    pub loss: u32,
    /// Duplicated IKE messages in per mille.
    pub duplicate: u32,
    /// Minimum delay in milliseconds.
    pub delay: u64,
    /// Maximum additional delay in milliseconds, which also reorders.
    pub jitter: u64,
    /// ESP is dropped and IKE is not.
    pub no_esp: bool,
}

impl Default for Link {
    fn default() -> Self {
        Link { cut: false, loss: 0, duplicate: 0, delay: 20, jitter: 5, no_esp: false }
    }
}

impl Link {
    /// Whether packets arrive early enough not to be retransmitted.
    pub fn is_clean(&self) -> bool {
        !self.cut && !self.no_esp && self.loss == 0 && self.delay + self.jitter < 400
    }
}

/// All links.
#[derive(Clone, Debug)]
pub struct Wire {
    addresses: Vec<IpAddr>,
    links: Vec<Link>,
    streams: Vec<Stream>,
}

impl Wire {
    pub(super) fn new(addresses: Vec<IpAddr>, random: Stream) -> Self {
        let count = addresses.len() * addresses.len();
        let streams = (0..count as u64).map(|number| random.fork(number)).collect();
        Wire { addresses, links: vec![Link::default(); count], streams }
    }

    /// The direction from one gateway to another.
    pub fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.addresses.len() + to]
    }

    /// The direction from one gateway to another, mutable.
    pub fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.addresses.len() + to]
    }

    /// Changes both directions between two gateways.
    pub fn both(&mut self, a: usize, b: usize, change: impl Fn(&mut Link)) {
        change(self.link_mut(a, b));
        change(self.link_mut(b, a));
    }

    /// Changes everything to and from a gateway.
    pub fn around(&mut self, gateway: usize, change: impl Fn(&mut Link)) {
        for other in (0..self.addresses.len()).filter(|other| *other != gateway) {
            self.both(gateway, other, &change);
        }
    }

    /// Repairs every link.
    pub fn heal(&mut self) {
        self.links.fill(Link::default());
    }

    /// The delay of a packet; `None` if it is lost.
    pub(super) fn way(&mut self, from: IpAddr, to: IpAddr) -> Option<u64> {
        let (link, stream) = self.between(from, to)?;
        let lost = link.cut || (link.loss > 0 && stream.below(1000) < u64::from(link.loss));
        let delay = link.delay + if link.jitter > 0 { stream.below(link.jitter + 1) } else { 0 };
        (!lost).then_some(delay)
    }

    /// The delay of an ESP packet; `None` if it is lost.
    pub(super) fn way_of_esp(&mut self, from: IpAddr, to: IpAddr) -> Option<u64> {
        let swallowed = self.between(from, to)?.0.no_esp;
        self.way(from, to).filter(|_| !swallowed)
    }

    /// The delay of a packet's duplicate, if there is one.
    pub(super) fn again(&mut self, from: IpAddr, to: IpAddr) -> Option<u64> {
        let (link, stream) = self.between(from, to)?;
        let doubled = link.duplicate > 0 && stream.below(1000) < u64::from(link.duplicate);
        doubled.then(|| link.delay + stream.below(link.jitter.max(50)))
    }

    fn between(&mut self, from: IpAddr, to: IpAddr) -> Option<(Link, &mut Stream)> {
        let index = |address| self.addresses.iter().position(|known| *known == address);
        let at = index(from)? * self.addresses.len() + index(to)?;
        Some((self.links[at], &mut self.streams[at]))
    }
}
