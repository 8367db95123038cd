//! Sets of flows: the packets that an access-list line matches, as boxes of ranges.

use crate::model::{AclAddress, AclRule};

/// Source, destination, protocol, source ports, destination ports.
const DIMENSIONS: usize = 5;

/// All flows within five inclusive ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region([(u32, u32); DIMENSIONS]);

impl Region {
    /// The flows that `rule` matches: several regions for a port condition with several ranges,
    /// none for a discontiguous wildcard mask, which a crypto access list cannot have.
    pub(super) fn of(rule: &AclRule) -> Vec<Region> {
        let (Some(source), Some(destination)) = (addresses(&rule.source), addresses(&rule.destination))
        else {
            return Vec::new();
        };
        let protocol = rule.protocol.map_or((0, u8::MAX.into()), |number| (number.into(), number.into()));
        let any = (0, u16::MAX);
        // ICMP type and code use the place of source ports (RFC 4301 §4.4.1.1), the type in the
        // high octet.
        let icmp = rule.icmp.map(|icmp| {
            let kind = u16::from(icmp.kind) << 8;
            icmp.code.map_or((kind, kind | 0xff), |code| (kind | u16::from(code), kind | u16::from(code)))
        });
        let source_ports = match icmp {
            Some(range) => vec![range],
            None => rule.source_port.map_or(vec![any], |ports| ports.ranges()),
        };
        let destination_ports = rule.destination_port.map_or(vec![any], |ports| ports.ranges());
        let wide = |(first, last): (u16, u16)| (u32::from(first), u32::from(last));
        let mut regions = Vec::new();
        for from in &source_ports {
            for to in &destination_ports {
                regions.push(Region([source, destination, protocol, wide(*from), wide(*to)]));
            }
        }
        regions
    }

    /// The common flows.
    pub(super) fn intersection(&self, other: &Region) -> Option<Region> {
        let mut ranges = self.0;
        for (mine, theirs) in ranges.iter_mut().zip(other.0) {
            *mine = (mine.0.max(theirs.0), mine.1.min(theirs.1));
            if mine.0 > mine.1 {
                return None;
            }
        }
        Some(Region(ranges))
    }

    /// The flows of this region without `inner`, which must be within it.
    pub(super) fn without(&self, inner: &Region) -> Vec<Region> {
        let mut rest = *self;
        let mut pieces = Vec::new();
        for (dimension, (first, last)) in inner.0.into_iter().enumerate() {
            let (begin, end) = rest.0[dimension];
            let mut cut = |from: u32, to: u32| {
                let mut piece = rest;
                piece.0[dimension] = (from, to);
                pieces.push(piece);
            };
            if begin < first {
                cut(begin, first - 1);
            }
            if last < end {
                cut(last + 1, end);
            }
            rest.0[dimension] = (first, last);
        }
        pieces
    }
}

fn addresses(address: &AclAddress) -> Option<(u32, u32)> {
    let prefix = address.prefix()?;
    let std::net::IpAddr::V4(network) = prefix.address else { return None };
    let hosts = u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
    Some((network.into(), u32::from(network) | hosts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region() -> impl Strategy<Value = Region> {
        proptest::array::uniform5((0u32..6, 0u32..6))
            .prop_map(|ranges| Region(ranges.map(|(a, b)| (a.min(b), a.max(b)))))
    }

    proptest! {
        #[test]
        fn a_region_is_what_it_shares_and_what_is_left(a in region(), b in region(), point in proptest::array::uniform5(0u32..6)) {
            let has = |region: &Region| region.0.iter().zip(point).all(|((first, last), at)| (*first..=*last).contains(&at));
            let shared = a.intersection(&b);
            prop_assert_eq!(shared.as_ref().is_some_and(has), has(&a) && has(&b));
            if let Some(shared) = shared {
                let pieces = a.without(&shared).iter().filter(|piece| has(piece)).count();
                prop_assert_eq!(pieces, usize::from(has(&a) && !has(&b)), "each flow is in one piece");
            }
        }
    }
}
