//! Access groups: rejected ones, which would filter nothing, and notes.

use crate::Configuration;
use crate::edit::EditError;
use crate::model::{AccessGroups, AccessList, AclAction, AclRule, InterfaceName};

/// An interface without a device passes no packets, so that its access group would have no effect.
pub(super) fn check(configuration: &Configuration) -> Result<(), EditError> {
    let mut interfaces = configuration.interfaces.iter();
    match interfaces.find(|(name, interface)| {
        interface.device.is_none() && name.is_virtual() && interface.access_groups != AccessGroups::default()
    }) {
        Some((name, _)) => Err(EditError(format!(
            "%ERROR: interface {name} has no device, so that an access group filters nothing there; type \"device NAME\" first, or \
             the access group at the interface that the packets pass"
        ))),
        None => Ok(()),
    }
}

/// Access groups whose list is missing or empty, where IOS permits everything and tohub denies
/// everything; and lists on an interface with a crypto map that block its tunnels.
pub fn filter_notes(configuration: &Configuration) -> Vec<String> {
    let mut notes = empty_lists(configuration);
    notes.extend(stopped_tunnels(configuration));
    notes
}

/// Access groups whose list is missing or empty.
pub(super) fn empty_lists(configuration: &Configuration) -> Vec<String> {
    let interfaces = configuration
        .interfaces
        .iter()
        .map(|(name, interface)| (place_of_interface(name), &interface.access_groups));
    let entries = configuration.crypto_maps.iter().flat_map(|(name, map)| {
        map.entries.iter().map(move |(seq, entry)| (place_of_entry(name, *seq), &entry.body.access_groups))
    });
    let templates = configuration.dynamic_maps.iter().flat_map(|(name, map)| {
        map.entries.iter().map(move |(seq, body)| (place_of_template(name, *seq), &body.access_groups))
    });
    let all = interfaces.chain(entries).chain(templates);
    all.flat_map(|(place, groups)| empty_lists_at(configuration, &place, groups)).collect()
}

/// The missing or empty lists of the access groups of one place.
pub(super) fn empty_lists_at(
    configuration: &Configuration,
    place: &str,
    groups: &AccessGroups,
) -> Vec<String> {
    let note = |(list, direction): (&str, &str)| {
        let problem = match lines_of(configuration, list) {
            None => "is not configured",
            Some(0) => "has no line",
            Some(_) => return None,
        };
        Some(format!(
            "%NOTE: {place} filters {direction} by access list {list}, which {problem}: everything is denied there; \
             type \"ip access-list extended {list}\" with its lines, or take the access group away"
        ))
    };
    groups.iter().filter_map(note).collect()
}

/// The number of rules of a list; `None` if the list does not exist.
pub(super) fn lines_of(configuration: &Configuration, list: &str) -> Option<usize> {
    configuration.access_lists.get(list).map(|list| list.rules().count())
}

pub(super) fn place_of_interface(name: &InterfaceName) -> String {
    format!("interface {name}")
}

pub(super) fn place_of_entry(map: &str, seq: u16) -> String {
    format!("crypto map {map} {seq}")
}

pub(super) fn place_of_template(map: &str, seq: u16) -> String {
    format!("crypto dynamic-map {map} {seq}")
}

/// Tunnels that cannot come up, or carry no traffic, because no line permits the packets of the
/// peer.
pub(super) fn stopped_tunnels(configuration: &Configuration) -> impl Iterator<Item = String> {
    let mapped = configuration.interfaces.iter().filter(|(_, interface)| interface.crypto_map.is_some());
    mapped.flat_map(move |(name, interface)| {
        interface.access_groups.iter().filter_map(move |(list, direction)| {
            let lines = configuration.access_lists.get(list).filter(|list| list.rules().count() > 0)?;
            let (problem, line) = stopped(lines, direction == "in")?;
            Some(format!(
                "%NOTE: interface {name} filters {direction} by access list {list}, no line of which permits {problem}: no packet \
                 passes its tunnels; add \"{line}\""
            ))
        })
    })
}

/// The traffic that no line permits, and a line that does. Packets sent by the gateway itself are
/// not filtered, so `out` need not permit IKE.
fn stopped(list: &AccessList, inbound: bool) -> Option<(&'static str, &'static str)> {
    let permits = |wanted: &dyn Fn(&AclRule) -> bool| {
        list.rules().any(|(_, rule)| rule.action == AclAction::Permit && wanted(rule))
    };
    let udp = |port: u16| {
        permits(&|rule: &AclRule| {
            let accepts = rule.destination_port.is_none_or(|ports| {
                ports.ranges().iter().any(|(first, last)| (*first..=*last).contains(&port))
            });
            rule.protocol.is_none() || (rule.protocol == Some(17) && accepts)
        })
    };
    if inbound && !udp(500) && !udp(4500) {
        return Some(("IKE", "permit udp any any eq isakmp"));
    }
    let esp = permits(&|rule: &AclRule| matches!(rule.protocol, None | Some(50)));
    (!esp && !udp(4500)).then_some(("ESP", "permit esp any any"))
}
