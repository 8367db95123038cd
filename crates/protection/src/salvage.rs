//! The closed state for a rejected configuration file: it drops at least what the file would
//! protect.

use std::net::{IpAddr, Ipv4Addr};

use config::Configuration;
use config::edit::Mode;
use config::model::{AccessList, AclAction};
use config::salvage::{Salvaged, salvage as salvage_lines};
use sa_table::{Action, PortRange, PortRecord, Prefix, Rule};

use crate::closed::{Closed, closed};
use crate::shape::{BEHIND_ENTRY, Shape, close};

/// The closed state for the text of a rejected file: the traffic that its valid lines protect and,
/// on every device, each permit of each access list that a crypto map refers to. If a rejected line
/// could refer to a list or a map, all access lists are included.
#[must_use]
pub fn salvage(text: &str) -> Closed {
    let salvaged = salvage_lines(text);
    let mut result = closed(&salvaged.configuration);
    let rules = everywhere(&salvaged);
    if !rules.is_empty() {
        result.lists.push(rules);
        // A record without a device: its list applies to every device.
        result.ports.push(PortRecord {
            id: u16::MAX,
            ios_name: "the refused configuration file".to_owned(),
            has_crypto_map: true,
            rule_list: u32::try_from(result.lists.len() - 1).ok(),
            ..PortRecord::default()
        });
    }
    result
}

fn everywhere(salvaged: &Salvaged) -> Vec<Rule> {
    let configuration = &salvaged.configuration;
    let all = salvaged.refused.iter().any(|(mode, line)| may_name_a_list(mode, line));
    let mut rules = Vec::new();
    for (name, list) in &configuration.access_lists {
        if all || is_named(configuration, name) {
            add_list(list, refused_lines(salvaged, name), &mut rules);
        }
    }
    // Lists without any valid line.
    for (mode, line) in &salvaged.refused {
        if let Some(name) = list_of(mode, line)
            && !configuration.access_lists.contains_key(name)
        {
            rules.extend(covering(line));
        }
    }
    rules
}

fn is_named(configuration: &Configuration, list: &str) -> bool {
    let fixed =
        configuration.crypto_maps.values().flat_map(|map| map.entries.values().map(|entry| &entry.body));
    let dynamic = configuration.dynamic_maps.values().flat_map(|map| map.entries.values());
    fixed.chain(dynamic).any(|body| body.match_address.as_deref() == Some(list))
}

fn may_name_a_list(mode: &Mode, line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    matches!(mode, Mode::CryptoMap(..) | Mode::DynamicMap(..))
        || "match".starts_with(&first)
        || "crypto".starts_with(&first)
}

/// The access list of a rejected line, if the line is a permit.
fn list_of<'a>(mode: &'a Mode, line: &'a str) -> Option<&'a str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let permits = |word: &&str| "permit".starts_with(&word.to_ascii_lowercase());
    match (mode, words.as_slice()) {
        (Mode::AccessList(name), [first, rest @ ..]) => {
            let second = rest.first().filter(|_| first.chars().all(|c| c.is_ascii_digit()));
            permits(second.unwrap_or(first)).then_some(name)
        }
        (_, [first, name, action, ..]) if first.to_ascii_lowercase().starts_with("access-l") => {
            permits(action).then_some(*name)
        }
        _ => None,
    }
}

fn refused_lines<'a>(salvaged: &'a Salvaged, name: &str) -> Vec<&'a str> {
    let of_list = |(mode, line): &&(Mode, String)| list_of(mode, line) == Some(name);
    salvaged.refused.iter().filter(of_list).map(|(_, line)| line.as_str()).collect()
}

fn add_list(list: &AccessList, refused: Vec<&str>, rules: &mut Vec<Rule>) {
    // A permit whose position in the list is unknown precedes every deny.
    rules.extend(refused.iter().map(|line| covering(line)).collect::<Vec<_>>().into_iter().flatten());
    let start = rules.len();
    for (_, rule) in list.rules() {
        match (rule.action, Shape::of(rule)) {
            (AclAction::Permit, _) => Shape::covering(rule).push(Action::Drop, rules),
            (AclAction::Deny, Some(shape)) => shape.push(Action::Jump(BEHIND_ENTRY), rules),
            (AclAction::Deny, None) => {}
        }
    }
    close(rules, start);
}

/// The address ranges of a permit that cannot be parsed: between the source and destination that
/// can be read, otherwise between all addresses.
fn covering(line: &str) -> Vec<Rule> {
    let mut sides = Vec::new();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let address = |text: &str| text.parse::<Ipv4Addr>().ok();
        if word.eq_ignore_ascii_case("any") {
            sides.push((Ipv4Addr::UNSPECIFIED, 0));
        } else if word.eq_ignore_ascii_case("host") {
            sides.extend(words.next().and_then(address).map(|host| (host, 32)));
        } else if let Some(first) = address(word) {
            let wildcard = words.peek().and_then(|next| address(next));
            words.next_if(|_| wildcard.is_some());
            let wildcard = wildcard.map_or(0, u32::from);
            sides.push((first, wildcard.leading_zeros()));
        }
    }
    let (source, destination) = match sides[..] {
        [source, destination] => (source, destination),
        _ => ((Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::UNSPECIFIED, 0)),
    };
    let prefix = |(address, length): (Ipv4Addr, u32)| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        let address = Ipv4Addr::from(u32::from(address) & mask);
        Prefix { address: IpAddr::V4(address), length: u8::try_from(length).unwrap_or(0) }
    };
    vec![Rule {
        source: prefix(source),
        destination: prefix(destination),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action: Action::Drop,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "crypto map m 1 ipsec-isakmp\n set peer 192.0.2.1\n match address 101\n\
        interface GigabitEthernet0/1\n device eth1\n crypto map m\n\
        access-list 101 deny tcp any any eq 22\n\
        access-list 101 permit ip 10.1.0.0 0.0.255.255 10.2.0.0 0.0.255.255\n\
        access-list 102 permit ip host 10.9.9.9 any\n";

    fn everywhere_of(text: &str) -> Vec<(String, Action)> {
        let closed = salvage(text);
        let record = closed.ports.last().filter(|port| port.device.is_empty());
        let list = record.and_then(|port| closed.lists.get(port.rule_list? as usize));
        let text = |prefix: &Prefix| format!("{}/{}", prefix.address, prefix.length);
        let line = |rule: &Rule| (format!("{} {}", text(&rule.source), text(&rule.destination)), rule.action);
        list.into_iter().flatten().map(line).collect()
    }

    #[test]
    fn the_lists_that_crypto_maps_name_are_closed_everywhere() {
        let closed = everywhere_of(&format!("{FILE}typo here\n"));
        assert_eq!(closed[0], ("0.0.0.0/0 0.0.0.0/0".to_owned(), Action::Jump(2)));
        assert_eq!(closed[1], ("10.1.0.0/16 10.2.0.0/16".to_owned(), Action::Drop));
        assert_eq!(closed.len(), 2, "list 102 is not named by a crypto map");
    }

    #[test]
    fn a_refused_line_of_a_map_closes_every_list() {
        let closed = everywhere_of(&format!("{FILE}crypto map m 2 ipsec-nonsense\n"));
        assert!(closed.contains(&("10.9.9.9/32 0.0.0.0/0".to_owned(), Action::Drop)));
    }

    #[test]
    fn a_refused_permit_is_closed_by_its_addresses() {
        let odd = "access-list 101 permit eigrp 172.16.0.0 0.0.255.255 host 172.17.0.1 nonsense\n";
        let closed = everywhere_of(&format!("{FILE}{odd}"));
        assert_eq!(closed[0], ("172.16.0.0/16 172.17.0.1/32".to_owned(), Action::Drop));
        let odder = "access-list 101 permit whatever\n";
        assert_eq!(everywhere_of(&format!("{FILE}{odder}"))[0].0, "0.0.0.0/0 0.0.0.0/0");
    }
}
