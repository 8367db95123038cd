//! The source address that this host uses for its own packets to a protected prefix if the sender
//! did not bind one.
//!
//! The default route to the punt port has no address of its own, so the kernel would use that of
//! the oldest device, which is often not protected by any rule and differs from the one used
//! without crypto map. Each protected destination therefore has a route of its own in the table,
//! with the address that the main table would give, or, if only another address of this host is
//! protected, that one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressScope};
use netlink_packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::{Handle, RouteMessageBuilder};
use sa_table::policy::Prefix;

use super::local_traffic::{IKE_PORTS, LocalTraffic, ignore_absent, network};
use super::netlink::{Netlink, NetlinkError, addresses, netlink_errno};

/// What a rule protects: destination and source.
pub type Flow = (Prefix, Prefix);

/// The installed routes and the flows that they were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRoutes {
    own: Vec<Ipv4Addr>,
    routes: BTreeMap<(Ipv4Addr, u8), Ipv4Addr>,
}

impl LocalTraffic {
    /// Installs the routes of `flows` and removes others. IPv4 only, as crypto access lists are.
    /// `0.0.0.0/0` is left to the default route: no single address would be right for all that it
    /// covers.
    ///
    /// # Errors
    /// Netlink failed. An address that was removed meanwhile is not an error.
    pub fn set_sources(
        &self,
        netlink: &Netlink,
        punt_ifindex: u32,
        flows: &[Flow],
        standing: &mut SourceRoutes,
    ) -> Result<(), NetlinkError> {
        netlink.run(async {
            let handle = netlink.handle();
            let own = own_addresses(handle).await?;
            if own != standing.own {
                // The kernel removes the routes of a removed address.
                standing.routes.clear();
            }
            let mut wanted = BTreeMap::new();
            for ((destination, length), sources) in by_destination(flows) {
                let main = by_main_table(handle, destination, length).await;
                if let Some(source) = choose(main, &own, &sources) {
                    wanted.insert((destination, length), source);
                }
            }
            let route = |(destination, length): (Ipv4Addr, u8)| {
                RouteMessageBuilder::<Ipv4Addr>::new()
                    .table_id(self.table)
                    .destination_prefix(destination, length)
                    .output_interface(punt_ifindex)
            };
            for (&prefix, &source) in &wanted {
                if standing.routes.get(&prefix) == Some(&source) {
                    continue;
                }
                let message = route(prefix).pref_source(source).build();
                match handle.route().add(message).replace().execute().await {
                    // The address was removed meanwhile; the next refresh corrects it.
                    Err(error) if netlink_errno(&error) == Some(libc::EINVAL) => {}
                    result => result.map_err(NetlinkError::request(format!(
                        "add route to {}/{} to table {}",
                        prefix.0, prefix.1, self.table
                    )))?,
                }
            }
            let stale: BTreeSet<_> =
                standing.routes.keys().filter(|prefix| !wanted.contains_key(*prefix)).copied().collect();
            for prefix in stale {
                ignore_absent(handle.route().del(route(prefix).build()).execute().await)
                    .map_err(NetlinkError::request(format!("remove a route from table {}", self.table)))?;
            }
            *standing = SourceRoutes { own, routes: wanted };
            Ok(())
        })
    }
}

/// For each destination prefix (other than 0.0.0.0/0) the sources that are protected towards it:
/// those of its own rules and of rules for wider destinations.
fn by_destination(flows: &[Flow]) -> BTreeMap<(Ipv4Addr, u8), Vec<Prefix>> {
    let mut own: BTreeMap<_, Vec<Prefix>> = BTreeMap::new();
    for (destination, source) in flows {
        if let IpAddr::V4(address) = network(destination.address, destination.length) {
            own.entry((address, destination.length)).or_default().push(*source);
        }
    }
    let covering = |address: Ipv4Addr, length: u8| {
        (0..=length)
            .filter_map(|length| match network(IpAddr::V4(address), length) {
                IpAddr::V4(wider) => own.get(&(wider, length)),
                IpAddr::V6(_) => None,
            })
            .flatten()
            .copied()
            .collect()
    };
    own.keys()
        .filter(|(_, length)| *length > 0)
        .map(|&(address, length)| ((address, length), covering(address, length)))
        .collect()
}

/// The address of the main table if a rule protects it, else an own one that a rule protects, else
/// that of the main table: then the crypto map does not apply to the packet, and its source is left
/// alone.
fn choose(main: Option<Ipv4Addr>, own: &[Ipv4Addr], sources: &[Prefix]) -> Option<Ipv4Addr> {
    let protected = |address: &Ipv4Addr| sources.iter().any(|prefix| prefix.contains(IpAddr::V4(*address)));
    main.filter(protected).or_else(|| own.iter().copied().find(protected)).or(main)
}

/// The addresses usable as source toward other hosts (not scope host), in the kernel's order.
async fn own_addresses(handle: &Handle) -> Result<Vec<Ipv4Addr>, NetlinkError> {
    Ok(addresses(handle)
        .await?
        .iter()
        .filter(|one| one.header.family == AddressFamily::Inet && one.header.scope == AddressScope::Universe)
        .filter_map(|one| {
            one.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })
        })
        .collect())
}

/// The source address that the main table gives. IKE is exempt from our rules, so the look-up uses
/// the ports of IKE. One address represents the prefix. `None` where there is no route.
async fn by_main_table(handle: &Handle, network: Ipv4Addr, length: u8) -> Option<Ipv4Addr> {
    // The first host of a network: its own address may be a broadcast address.
    let target = if length < 31 { Ipv4Addr::from_bits(network.to_bits() | 1) } else { network };
    let query = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(target, 32)
        .ip_protocol(libc::IPPROTO_UDP as u8)
        .sport(IKE_PORTS[0])
        .build();
    let answer = handle.route().get(query).execute().try_next().await.ok()??;
    answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
    }

    #[test]
    fn a_wider_rule_protects_what_is_inside() {
        let any = prefix("0.0.0.0/0");
        let (network, host) = (prefix("10.2.0.0/16"), prefix("10.2.0.9/32"));
        let (a, b, c) = (prefix("192.168.1.0/24"), prefix("192.168.2.0/24"), prefix("192.168.3.0/24"));
        let flows = by_destination(&[(host, a), (network, b), (prefix("10.3.0.0/16"), c), (any, c)]);
        let destinations: Vec<_> =
            flows.keys().map(|(address, length)| format!("{address}/{length}")).collect();
        assert_eq!(destinations, ["10.2.0.0/16", "10.2.0.9/32", "10.3.0.0/16"]);
        assert_eq!(flows[&(Ipv4Addr::new(10, 2, 0, 9), 32)], [c, b, a]);
        assert_eq!(flows[&(Ipv4Addr::new(10, 2, 0, 0), 16)], [c, b]);
    }

    #[test]
    fn the_main_table_decides_unless_only_another_own_address_is_protected() {
        let [inside, outside, elsewhere] =
            [[192, 168, 1, 1], [192, 0, 2, 1], [10, 9, 9, 9]].map(Ipv4Addr::from);
        let own = [inside, outside];
        let networks = [prefix("192.168.1.0/24")];
        let ends = [prefix("192.0.2.1/32")];
        assert_eq!(choose(Some(outside), &own, &ends), Some(outside));
        assert_eq!(choose(Some(outside), &own, &networks), Some(inside));
        assert_eq!(choose(Some(outside), &own, &[networks[0], ends[0]]), Some(outside));
        assert_eq!(choose(None, &own, &networks), Some(inside));
        assert_eq!(choose(Some(elsewhere), &own, &[prefix("172.16.0.0/12")]), Some(elsewhere));
        assert_eq!(choose(None, &own, &[]), None);
    }
}
