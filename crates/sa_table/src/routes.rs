//! Synchronisation of reverse routes: the control plane adds them to the kernel and the data plane
//! reads them from there. Until then packets toward the peer's networks would leave by another
//! route.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Protocol number of `reverse-route` routes in the kernel (`rtm_protocol`); not one of those in
/// `/etc/iproute2/rt_protos`.
pub const REVERSE_ROUTE_PROTOCOL: u8 = 171;

/// A hash of a set of destinations (network address, prefix length): 0 for the empty set,
/// independent of the order.
///
/// The data plane stores that of the routes in use
/// ([`RuntimeWriter::set_reverse_routes`](crate::RuntimeWriter::set_reverse_routes)); the control
/// plane waits until it equals that of its own routes.
pub fn fingerprint(destinations: impl IntoIterator<Item = (IpAddr, u8)>) -> u64 {
    let distinct: BTreeSet<(IpAddr, u8)> = destinations.into_iter().collect();
    distinct.into_iter().map(|(address, length)| mix(address, length)).fold(0, u64::wrapping_add)
}

fn mix(address: IpAddr, length: u8) -> u64 {
    let (bits, family) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 4),
        IpAddr::V6(address) => (address.to_bits(), 6),
    };
    let words = [(bits >> 64) as u64, bits as u64, u64::from(length) << 8 | family];
    words.into_iter().fold(0, |state, word| scramble(state ^ word))
}

/// The finalizer of SplitMix64.
pub(crate) fn scramble(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_sets_apart_and_not_orders() {
        let route = |last: u8, length: u8| (IpAddr::from([192, 168, last, 0]), length);
        let both = fingerprint([route(1, 24), route(2, 24)]);
        assert_eq!(fingerprint([]), 0);
        assert_eq!(both, fingerprint([route(2, 24), route(1, 24), route(2, 24)]));
        for other in [vec![route(1, 24)], vec![route(2, 24)], vec![route(1, 24), route(2, 25)], vec![]] {
            assert_ne!(both, fingerprint(other.clone()), "{other:?}");
        }
        let v6 = (IpAddr::from([0, 0, 0, 0, 0, 0, 0xc0a8, 0x100]), 24);
        assert_ne!(fingerprint([route(1, 24)]), fingerprint([v6]), "another family");
    }
}
