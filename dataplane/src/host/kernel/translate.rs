//! Translates netlink messages into snapshot entries.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteProtocol, RouteType,
    RouteVia,
};
use sa_table::routes::REVERSE_ROUTE_PROTOCOL;

use super::snapshot::{PortId, Route, Table};

/// Data-plane ports by ifindex.
pub(super) type PortIndex = HashMap<u32, PortId>;

/// One route for the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) table: Table,
    pub(super) prefix: IpAddr,
    pub(super) length: u8,
    pub(super) metric: u32,
    pub(super) route: Route,
}

const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;

/// `None` for what is not in the two tables, is a cached clone, or has no next hop that is up.
pub(super) fn route(message: &RouteMessage, ports: &PortIndex) -> Option<Translated> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut parts = Parts { table: u32::from(header.table), ..Parts::default() };
    let mut prefix = unspecified(header.address_family)?;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => prefix = route_address(address)?,
            RouteAttribute::Table(table) => parts.table = *table,
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::MultiPath(hops) => {
                // Multipath: the first next hop that is up is used for all flows.
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                if let Some(hop) = hops.iter().find(|hop| !hop.flags.intersects(dead)) {
                    parts.device = Some(hop.interface_index);
                    hop.attributes.iter().for_each(|attribute| parts.next_hop(attribute));
                }
            }
            other => parts.next_hop(other),
        }
    }
    let table = match parts.table {
        TABLE_LOCAL => Table::Local,
        TABLE_MAIN => Table::Main,
        _ => return None,
    };
    if header.kind == RouteType::Unicast && header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown) {
        return None;
    }
    let route = match header.kind {
        RouteType::Unicast => parts.unicast(ports)?,
        RouteType::Local | RouteType::Anycast => Route::Local,
        RouteType::Broadcast | RouteType::Multicast => Route::ToKernel,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Route::Unreachable,
        _ => return None,
    };
    Some(Translated { table, prefix, length: header.destination_prefix_length, metric: parts.metric, route })
}

/// The destination of a `reverse-route` route, whether its next hop is up or not; `None` for every
/// other route.
pub(super) fn reverse_route(message: &RouteMessage) -> Option<(IpAddr, u8)> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(REVERSE_ROUTE_PROTOCOL) {
        return None;
    }
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => route_address(address),
        _ => None,
    });
    Some((destination.or_else(|| unspecified(header.address_family))?, header.destination_prefix_length))
}

#[derive(Default)]
struct Parts {
    table: u32,
    metric: u32,
    device: Option<u32>,
    gateway: Option<IpAddr>,
}

impl Parts {
    fn next_hop(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(ifindex) => self.device = Some(*ifindex),
            RouteAttribute::Gateway(address) => self.gateway = route_address(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => self.gateway = Some(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => self.gateway = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }

    fn unicast(&self, ports: &PortIndex) -> Option<Route> {
        let device = self.device?;
        let Some(&port) = ports.get(&device) else { return Some(Route::ToKernel) };
        Some(match self.gateway {
            Some(next_hop) => Route::Via { port, next_hop },
            None => Route::OnLink { port },
        })
    }
}

fn route_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn unspecified(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(IpAddr::from([0; 4])),
        AddressFamily::Inet6 => Some(IpAddr::from([0; 16])),
        _ => None,
    }
}

/// A neighbour of one of our ports with a usable hardware address in the kernel.
pub(super) fn neighbour(message: &NeighbourMessage, ports: &PortIndex) -> Option<(PortId, IpAddr, [u8; 6])> {
    // A stale entry is usable: its address was not confirmed lately, and using it starts the
    // kernel's reachability check.
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let port = *ports.get(&message.header.ifindex)?;
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(octets) => mac = octets.as_slice().try_into().ok(),
            _ => {}
        }
    }
    if usable { Some((port, address?, mac?)) } else { None }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    fn ports() -> PortIndex {
        PortIndex::from([(7, 1), (8, 2)])
    }

    fn message(kind: RouteType, table: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 24;
        message.header.kind = kind;
        message.header.table = table;
        message.attributes = attributes;
        message
    }

    fn v4(text: &str) -> RouteAddress {
        RouteAddress::Inet(text.parse().unwrap())
    }

    fn translated(kind: RouteType, attributes: Vec<RouteAttribute>) -> Option<Route> {
        route(&message(kind, 254, attributes), &ports()).map(|translated| translated.route)
    }

    #[test]
    fn a_gateway_on_a_port_is_via_and_none_is_on_link() {
        let gateway = RouteAttribute::Gateway(v4("192.0.2.9"));
        let via = Route::Via { port: 1, next_hop: "192.0.2.9".parse().unwrap() };
        assert_eq!(translated(RouteType::Unicast, vec![RouteAttribute::Oif(7), gateway]), Some(via));
        assert_eq!(
            translated(RouteType::Unicast, vec![RouteAttribute::Oif(8)]),
            Some(Route::OnLink { port: 2 })
        );
    }

    #[test]
    fn other_devices_and_group_addresses_are_the_kernels() {
        assert_eq!(translated(RouteType::Unicast, vec![RouteAttribute::Oif(9)]), Some(Route::ToKernel));
        assert_eq!(translated(RouteType::Broadcast, vec![RouteAttribute::Oif(7)]), Some(Route::ToKernel));
    }

    #[test]
    fn refusing_routes_are_unreachable() {
        for kind in [RouteType::BlackHole, RouteType::Unreachable, RouteType::Prohibit] {
            assert_eq!(translated(kind, Vec::new()), Some(Route::Unreachable));
        }
    }

    #[test]
    fn the_first_living_path_is_taken() {
        let hop = |ifindex, flags| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = ifindex;
            hop.flags = flags;
            hop
        };
        let paths = vec![hop(7, RouteNextHopFlags::Dead), hop(8, RouteNextHopFlags::empty())];
        assert_eq!(
            translated(RouteType::Unicast, vec![RouteAttribute::MultiPath(paths)]),
            Some(Route::OnLink { port: 2 })
        );
    }

    #[test]
    fn other_tables_are_left_out_also_large_ones() {
        assert_eq!(route(&message(RouteType::Local, 100, Vec::new()), &ports()), None);
        let large = message(RouteType::Local, 252, vec![RouteAttribute::Table(70_000)]);
        assert_eq!(route(&large, &ports()), None);
        let local = message(RouteType::Local, 255, vec![RouteAttribute::Destination(v4("192.0.2.1"))]);
        assert_eq!(route(&local, &ports()).map(|translated| translated.table), Some(Table::Local));
    }

    #[test]
    fn only_usable_neighbours_of_our_ports_count() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet("192.0.2.9".parse().unwrap())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        message.header.state = NeighbourState::Stale;
        assert_eq!(
            neighbour(&message, &ports()),
            Some((1, "192.0.2.9".parse().unwrap(), [2, 0, 0, 0, 0, 9]))
        );
        message.header.state = NeighbourState::Failed;
        assert_eq!(neighbour(&message, &ports()), None);
        message.header.state = NeighbourState::Reachable;
        message.header.ifindex = 9;
        assert_eq!(neighbour(&message, &ports()), None);
    }
}
