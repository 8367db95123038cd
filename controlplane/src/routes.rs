//! Routes that exist as long as an SA (`reverse-route`), with the number of SA pairs that need
//! each.
//!
//! The functions are pure: the caller determines the next hop toward the peer and updates the
//! kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::model::Prefix;

/// A route to a network behind a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReverseRoute {
    /// The network behind the peer.
    pub prefix: Prefix,
    /// The peer: the route uses the same next hop as the route to the peer, unless a gateway is
    /// configured.
    pub peer: IpAddr,
    /// `set reverse-route gateway`.
    pub gateway: Option<IpAddr>,
    /// Linux device of the crypto-map interface.
    pub device: String,
    /// Metric of the kernel route; lower wins.
    pub metric: u32,
}

/// A change of the kernel's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Add the route, or replace it.
    Add(ReverseRoute),
    /// Remove the route.
    Remove(ReverseRoute),
}

/// Reference counts of the routes, by SA pair.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(BTreeMap<ReverseRoute, u32>);

impl RouteTable {
    /// Adds a reference.
    pub fn add(&mut self, route: ReverseRoute) -> Option<RouteChange> {
        let count = self.0.entry(route.clone()).or_default();
        *count += 1;
        (*count == 1).then_some(RouteChange::Add(route))
    }

    /// Removes a reference.
    pub fn remove(&mut self, route: &ReverseRoute) -> Option<RouteChange> {
        let count = self.0.get_mut(route)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.0.remove(route);
        Some(RouteChange::Remove(route.clone()))
    }

    /// The routes that should be in the kernel.
    pub fn iter(&self) -> impl Iterator<Item = &ReverseRoute> {
        self.0.keys()
    }
}

/// The smallest set of prefixes that covers exactly the addresses `start` to `end`.
pub fn prefixes(start: IpAddr, end: IpAddr) -> Vec<Prefix> {
    match (start, end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => cover(u32::from(start).into(), u32::from(end).into(), 32)
            .map(|(address, length)| Prefix::v4(Ipv4Addr::from(address as u32), length))
            .collect(),
        (IpAddr::V6(start), IpAddr::V6(end)) => cover(start.into(), end.into(), 128)
            .map(|(address, length)| Prefix::v6(Ipv6Addr::from(address), length))
            .collect(),
        _ => Vec::new(),
    }
}

fn cover(start: u128, end: u128, bits: u32) -> impl Iterator<Item = (u128, u8)> {
    let mut next = (start <= end).then_some(start);
    std::iter::from_fn(move || {
        let start = next?;
        // The largest block that starts here, limited by the alignment of the start and by the rest
        // of the range.
        let aligned = start.trailing_zeros().min(bits);
        let left = match (end - start).checked_add(1) {
            Some(count) => 127 - count.leading_zeros(),
            None => 128,
        };
        let size = aligned.min(left);
        let last = if size == 128 { u128::MAX } else { start + ((1u128 << size) - 1) };
        next = last.checked_add(1).filter(|after| *after <= end);
        Some((start, u8::try_from(bits - size).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(start: &str, end: &str) -> Vec<String> {
        prefixes(start.parse().unwrap(), end.parse().unwrap()).iter().map(Prefix::to_string).collect()
    }

    #[test]
    fn a_range_is_covered_exactly() {
        assert_eq!(text("192.168.1.0", "192.168.1.255"), ["192.168.1.0/24"]);
        assert_eq!(text("10.0.0.1", "10.0.0.4"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
        assert_eq!(text("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(text("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(text("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
        assert_eq!(text("2001:db8::", "2001:db8::1"), ["2001:db8::/127"]);
        assert!(text("10.0.0.2", "10.0.0.1").is_empty());
    }

    #[test]
    fn a_rekey_neither_removes_nor_repeats_a_route() {
        let route = ReverseRoute {
            prefix: Prefix::v4([192, 168, 1, 0].into(), 24),
            peer: "10.9.9.9".parse().unwrap(),
            gateway: None,
            device: "outside".into(),
            metric: 1,
        };
        let mut table = RouteTable::default();
        assert_eq!(table.add(route.clone()), Some(RouteChange::Add(route.clone())));
        assert_eq!(table.add(route.clone()), None);
        assert_eq!(table.remove(&route), None);
        assert_eq!(table.remove(&route), Some(RouteChange::Remove(route.clone())));
        assert_eq!(table.remove(&route), None);
    }
}
