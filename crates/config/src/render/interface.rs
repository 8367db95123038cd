//! Interfaces and static routes.

use std::net::IpAddr;

use super::Writer;
use crate::Configuration;
use crate::model::{NextHop, Prefix};

pub(super) fn interfaces(out: &mut Writer, configuration: &Configuration) {
    for (name, interface) in &configuration.interfaces {
        out.line(format_args!("interface {name}"));
        out.optional(" device ", interface.device.as_ref());
        out.optional(" description ", interface.description.as_ref());
        let mut has_ipv4 = interface.dhcp;
        out.flag(interface.dhcp, " ip address dhcp");
        for address in &interface.addresses {
            match address.address {
                IpAddr::V4(ip) => {
                    has_ipv4 = true;
                    let secondary = if address.secondary { " secondary" } else { "" };
                    out.line(format_args!(" ip address {ip} {}{secondary}", Prefix::mask(address.length)));
                }
                IpAddr::V6(ip) => out.line(format_args!(" ipv6 address {ip}/{}", address.length)),
            }
        }
        out.flag(!has_ipv4, " no ip address");
        super::acl::access_groups(out, " ", &interface.access_groups);
        out.optional(" mtu ", interface.mtu);
        out.flag(interface.shutdown, " shutdown");
        out.lines(" ", &interface.kept);
        out.optional(" crypto map ", interface.crypto_map.as_ref());
        out.section();
    }
}

pub(super) fn routes(out: &mut Writer, configuration: &Configuration) {
    for route in &configuration.routes {
        let hop = match &route.next_hop {
            NextHop::Address(address) => address.to_string(),
            NextHop::Interface(interface) => interface.to_string(),
        };
        let distance = if route.distance == 1 { String::new() } else { format!(" {}", route.distance) };
        match route.prefix.address {
            IpAddr::V4(network) => {
                out.line(format_args!(
                    "ip route {network} {} {hop}{distance}",
                    Prefix::mask(route.prefix.length)
                ));
            }
            IpAddr::V6(_) => out.line(format_args!("ipv6 route {} {hop}{distance}", route.prefix)),
        }
    }
    out.section();
}
