//! Detects interfaces without a crypto map through which traffic that another interface's map
//! protects could leave in clear, as on IOS.

use std::net::IpAddr;

use config::Configuration;
use config::model::{CryptoMap, InterfaceName, NextHop, Prefix};
use sa_table::{Action, Rule};

use crate::carrier::{Carrier, carriers};
use crate::closed::closed_rules;

/// Returns a note for each interface with a route to a destination that the crypto map of another
/// interface protects, unless that map has `fail-close`. `kernel` holds routes of the system
/// besides those of the configuration: destination and device.
#[must_use]
pub fn other_ways_out(configuration: &Configuration, kernel: &[(Prefix, String)]) -> Vec<String> {
    let mut notes = Vec::new();
    for way in carriers(configuration).filter(|carrier| !carrier.interface.shutdown) {
        for (map, set) in maps_elsewhere(configuration, &way) {
            let rules = closed_rules(configuration, set);
            let route =
                routes(configuration, kernel, &way).into_iter().find(|(prefix, _)| leads(&rules, prefix));
            if let Some((prefix, origin)) = route {
                notes.push(format!(
                    "%NOTE: interface {} has no crypto map {map}, and a route leads there: {prefix} ({origin}). What {map} protects leaves in \
                     clear by it; apply the map there, or type \"crypto map {map} fail-close\", which drops it",
                    way.name
                ));
            }
        }
    }
    notes
}

/// The crypto maps of other interfaces that this interface does not have.
fn maps_elsewhere<'a>(configuration: &'a Configuration, way: &Carrier<'a>) -> Vec<(&'a str, &'a CryptoMap)> {
    let own = way.map.map(|(map, _)| map);
    let mut maps: Vec<(&str, &CryptoMap)> =
        carriers(configuration).filter_map(|carrier| carrier.map).collect();
    maps.sort_by_key(|(map, _)| *map);
    maps.dedup_by_key(|(map, _)| *map);
    maps.retain(|(map, set)| Some(*map) != own && !set.fail_close);
    maps
}

/// The routes through the interface, with their origin; configured ones first.
fn routes(
    configuration: &Configuration,
    kernel: &[(Prefix, String)],
    way: &Carrier<'_>,
) -> Vec<(Prefix, &'static str)> {
    let mut routes: Vec<(Prefix, &str)> = configuration
        .routes
        .iter()
        .filter(|route| leaves_by(configuration, &route.next_hop).as_ref() == Some(way.name))
        .map(|route| (route.prefix, "ip route"))
        .collect();
    if way.interface.dhcp {
        routes.push((Prefix::v4(std::net::Ipv4Addr::UNSPECIFIED, 0), "its DHCP server may give it"));
    }
    let of_kernel = kernel.iter().filter(|(_, device)| Some(device.as_str()) == way.device);
    routes.extend(of_kernel.map(|(prefix, _)| (*prefix, "in the kernel's table")));
    routes
}

/// The interface of a next hop: the configured one, or the one whose network contains the gateway.
fn leaves_by(configuration: &Configuration, next_hop: &NextHop) -> Option<InterfaceName> {
    match next_hop {
        NextHop::Interface(name) => Some(name.clone()),
        NextHop::Address(gateway) => {
            let has = |network: IpAddr, length| match network {
                IpAddr::V4(network) => Prefix::v4(network, length).contains(*gateway),
                IpAddr::V6(network) => Prefix::v6(network, length).contains(*gateway),
            };
            let (name, _) = configuration.interfaces.iter().find(|(_, interface)| {
                interface.addresses.iter().any(|line| has(line.address, line.length))
            })?;
            Some(name.clone())
        }
    }
}

/// Whether a route leads to a protected destination. A route to the protected sources does not.
fn leads(rules: &[Rule], route: &Prefix) -> bool {
    let overlaps = |one: &sa_table::Prefix| {
        let length = one.length.min(route.length);
        let cut = |address| match address {
            IpAddr::V4(address) => Prefix::v4(address, length),
            IpAddr::V6(address) => Prefix::v6(address, length),
        };
        one.address.is_ipv4() == route.address.is_ipv4() && cut(one.address) == cut(route.address)
    };
    let protects = |rule: &&Rule| !matches!(rule.action, Action::Jump(_));
    rules.iter().filter(protects).any(|rule| {
        let of_senders =
            rule.source.length > 0 && rule.source.length <= route.length && overlaps(&rule.source);
        overlaps(&rule.destination) && !of_senders
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::edit::Offline;

    fn notes(lines: &str, kernel: &[(&str, u8, &str)]) -> Vec<String> {
        let text = format!(
            "crypto ipsec transform-set T esp-aes esp-sha-hmac
access-list 101 permit ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255
crypto map M 1 ipsec-isakmp
 set peer 203.0.113.2
 set transform-set T
 match address 101
interface GigabitEthernet0/0
 device inside
 ip address 192.168.1.1 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address 192.0.2.1 255.255.255.0
 crypto map M
interface GigabitEthernet0/2
 device second
 ip address 198.51.100.1 255.255.255.0
{lines}"
        );
        let kernel: Vec<(Prefix, String)> = kernel
            .iter()
            .map(|(address, length, device)| {
                (Prefix::v4(address.parse().unwrap(), *length), (*device).to_owned())
            })
            .collect();
        other_ways_out(&config::file::parse("test", &text, &mut Offline).unwrap().configuration, &kernel)
    }

    #[test]
    fn a_route_by_an_interface_without_the_map_is_named() {
        assert_eq!(notes("ip route 0.0.0.0 0.0.0.0 192.0.2.2\n", &[]), Vec::<String>::new());
        let both = "ip route 0.0.0.0 0.0.0.0 192.0.2.2\nip route 0.0.0.0 0.0.0.0 198.51.100.2 200\n";
        let named = notes(both, &[]);
        assert!(
            named.len() == 1 && named[0].contains("interface GigabitEthernet0/2 has no crypto map M"),
            "{named:?}"
        );
        assert_eq!(notes(&format!("{both}crypto map M fail-close\n"), &[]), Vec::<String>::new());
        let elsewhere = "ip route 172.16.0.0 255.240.0.0 198.51.100.2\n";
        assert_eq!(notes(elsewhere, &[]), Vec::<String>::new(), "nothing protected is there");
    }

    #[test]
    fn routes_of_the_kernel_count_too() {
        let by_daemon = notes("", &[("10.2.5.0", 24, "second"), ("192.168.1.0", 24, "inside")]);
        assert!(
            by_daemon.len() == 1 && by_daemon[0].contains("10.2.5.0/24 (in the kernel's table)"),
            "{by_daemon:?}"
        );
        assert_eq!(notes("", &[("10.2.5.0", 24, "other")]), Vec::<String>::new());
    }
}
