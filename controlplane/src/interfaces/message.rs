//! Conversion between routes and netlink messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::model::Prefix;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::RouteMessageBuilder;

use super::{KernelRoute, REVERSE_PROTOCOL, STATIC_PROTOCOL};

pub(super) fn describe(route: &KernelRoute) -> String {
    match route.gateway {
        Some(gateway) => format!("{} via {gateway} metric {}", route.prefix, route.metric),
        None => format!("{} on interface {} metric {}", route.prefix, route.ifindex, route.metric),
    }
}

pub(super) fn with_destination(address: IpAddr, length: u8) -> RouteMessage {
    match address {
        IpAddr::V4(address) => {
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, length).build()
        }
        IpAddr::V6(address) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, length).build()
        }
    }
}

pub(super) fn message(route: &KernelRoute) -> RouteMessage {
    let mut message = with_destination(route.prefix.address, route.prefix.length);
    message.header.protocol = RouteProtocol::Other(route.protocol);
    if route.prefix.length == 0 {
        message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Destination(_)));
    }
    message.attributes.push(RouteAttribute::Priority(route.metric));
    if let Some(gateway) = route.gateway {
        message.attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    if route.ifindex != 0 {
        message.attributes.push(RouteAttribute::Oif(route.ifindex));
    }
    message
}

pub(super) fn gateway(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => to_address(address),
        _ => None,
    })
}

fn to_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The route in a message, if it carries one of our protocol numbers.
pub(super) fn ours(message: &RouteMessage) -> Option<KernelRoute> {
    let protocol = match message.header.protocol {
        RouteProtocol::Other(number @ (STATIC_PROTOCOL | REVERSE_PROTOCOL)) => number,
        _ => return None,
    };
    let v4 = message.header.address_family == netlink_packet_route::AddressFamily::Inet;
    let mut route = KernelRoute {
        prefix: if v4 { Prefix::v4(Ipv4Addr::UNSPECIFIED, 0) } else { Prefix::v6(Ipv6Addr::UNSPECIFIED, 0) },
        gateway: gateway(message),
        ifindex: 0,
        metric: 0,
        protocol,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                route.prefix = Prefix {
                    address: to_address(address)?,
                    length: message.header.destination_prefix_length,
                };
            }
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => route.ifindex = *index,
            _ => {}
        }
    }
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_routes_are_recognised_by_their_protocol() {
        let route = KernelRoute {
            prefix: Prefix::v4([192, 168, 1, 0].into(), 24),
            gateway: Some("10.1.1.254".parse().unwrap()),
            ifindex: 3,
            metric: 1,
            protocol: REVERSE_PROTOCOL,
        };
        let mut built = message(&route);
        assert_eq!(ours(&built), Some(route));
        built.header.protocol = RouteProtocol::Static;
        assert_eq!(ours(&built), None);
    }

    #[test]
    fn the_default_route_has_no_destination_attribute() {
        let route = KernelRoute {
            prefix: Prefix::v4(Ipv4Addr::UNSPECIFIED, 0),
            gateway: Some("10.9.9.1".parse().unwrap()),
            ifindex: 0,
            metric: 1,
            protocol: STATIC_PROTOCOL,
        };
        assert_eq!(ours(&message(&route)), Some(route));
    }
}
