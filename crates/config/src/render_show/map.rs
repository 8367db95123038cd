//! `show crypto map` and `show crypto dynamic-map`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::from_configuration::transform_text;
use crate::command::Filter;
use crate::model::{
    AccessList, Configuration, EntryBody, Keying, KilobyteLimit, Lifetime, PeerName, Profile, ReverseRoute,
};
use crate::render::acl_rule;

/// A temporary entry of a dynamic map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporaryEntryView {
    /// The crypto map.
    pub map: String,
    /// Sequence number, from 65536 on.
    pub seq: u32,
    /// The interface.
    pub interface: String,
    /// The peer.
    pub peer: String,
    /// Protected traffic: protocol, source, destination as in access lists.
    pub permits: Vec<String>,
    /// The dynamic map and its entry.
    pub template: (String, u16),
}

/// The temporary entries of `show crypto map`, printed after the configured ones.
pub fn temporary_entries(
    configuration: &Configuration,
    filter: &Filter,
    temporaries: &[TemporaryEntryView],
) -> String {
    let mut text = String::new();
    for entry in temporaries {
        let other_interface =
            filter.interface.as_ref().is_some_and(|interface| interface.to_string() != entry.interface);
        if other_interface || filter.map.as_ref().is_some_and(|tag| *tag != entry.map) {
            continue;
        }
        let (template, number) = &entry.template;
        let _ = writeln!(text, "Crypto Map IPv4 \"{}\" {} ipsec-isakmp", entry.map, entry.seq);
        let _ = writeln!(text, "\tPeer = {}", entry.peer);
        text.push_str("\tExtended IP access list\n");
        for permit in &entry.permits {
            let _ = writeln!(text, "\t    access-list  permit {permit}");
        }
        let _ = writeln!(text, "\t    dynamic (created from dynamic map {template}/{number})");
        let _ = writeln!(text, "\tCurrent peer: {}", entry.peer);
        let body = configuration.dynamic_maps.get(template).and_then(|map| map.entries.get(number));
        if let Some(body) = body {
            security_association(&mut text, configuration, body);
            transforms(&mut text, configuration, body);
        }
        let _ = writeln!(text, "\tInterfaces using crypto map {}:\n\t\t{}\n", entry.map, entry.interface);
    }
    text
}

/// `show crypto map [interface I | tag M]`. `current` holds the current peer of each entry as text;
/// without one the line is omitted. `closed` holds the reason for crypto maps whose traffic is
/// dropped instead of protected.
pub fn crypto_map(
    configuration: &Configuration,
    filter: &Filter,
    current: &BTreeMap<(String, u16), String>,
    closed: &[(String, String)],
) -> String {
    let mut text = String::new();
    let wanted_by_interface = filter.interface.as_ref().map(|interface| {
        configuration.interfaces.get(interface).and_then(|interface| interface.crypto_map.as_deref())
    });
    for (name, map) in &configuration.crypto_maps {
        let wrong_tag = filter.map.as_ref().is_some_and(|tag| tag != name);
        let wrong_interface = wanted_by_interface.is_some_and(|wanted| wanted != Some(name.as_str()));
        if wrong_tag || wrong_interface {
            continue;
        }
        for (seq, entry) in &map.entries {
            let keying = match &entry.keying {
                Keying::Manual => "ipsec-manual",
                Keying::Isakmp | Keying::Dynamic { .. } => "ipsec-isakmp",
            };
            let _ = writeln!(text, "Crypto Map IPv4 \"{name}\" {seq} {keying}");
            if let Keying::Dynamic { map, .. } = &entry.keying {
                let _ = writeln!(text, "\tDynamic map template tag: {map}");
            } else {
                if !entry.is_complete() {
                    text.push_str("\tWARNING: This crypto map is in an incomplete state!\n");
                    text.push_str("\t\t(missing peer or access-list definitions)\n");
                    text.push_str("\t\tWhat its access list permits is dropped.\n");
                }
                let current = current.get(&(name.clone(), *seq)).map(String::as_str);
                body(&mut text, configuration, &entry.body, current, entry.keying == Keying::Manual);
            }
            if map.fail_close {
                text.push_str("\tFail-close: what it protects is dropped wherever it is not in force\n");
            }
            for (_, why) in closed.iter().filter(|(map, _)| map == name) {
                let _ = writeln!(text, "\tClosed: {why}");
            }
            interfaces_using(&mut text, configuration, name);
        }
    }
    if text.is_empty() { "No crypto maps found.\n".into() } else { text }
}

/// `show crypto dynamic-map [tag M]`.
pub(super) fn dynamic_map(configuration: &Configuration, tag: Option<&str>) -> String {
    let mut text = String::new();
    for (name, map) in
        configuration.dynamic_maps.iter().filter(|(name, _)| tag.is_none_or(|tag| tag == *name))
    {
        for (seq, entry) in &map.entries {
            let _ = writeln!(text, "Crypto Map Template \"{name}\" {seq}");
            body(&mut text, configuration, entry, None, false);
            text.push('\n');
        }
    }
    if text.is_empty() { "No crypto dynamic-maps found.\n".into() } else { text }
}

fn body(
    text: &mut String,
    configuration: &Configuration,
    body: &EntryBody,
    current: Option<&str>,
    manual: bool,
) {
    if let Some(description) = &body.description {
        let _ = writeln!(text, "\tDescription: {description}");
    }
    for peer in &body.peers {
        let _ = match &peer.name {
            PeerName::Host { name, dynamic: true } => writeln!(text, "\tPeer = {name} dynamic"),
            name => writeln!(text, "\tPeer = {name}"),
        };
    }
    // A separate line: third-party parsers drop a peer whose line has a suffix.
    if let Some(peer) = body.default_peer() {
        let _ = writeln!(text, "\tDefault peer: {}", peer.name);
    }
    match &body.profile {
        Some(Profile::Ikev2(name)) => drop(writeln!(text, "\tIKEv2 Profile: {name}")),
        Some(Profile::Isakmp(name)) => drop(writeln!(text, "\tISAKMP Profile: {name}")),
        None => {}
    }
    text.push_str("\tAccess-List SS dynamic: False\n");
    if let Some(name) = &body.match_address {
        let _ = writeln!(text, "\tExtended IP access list {name}");
        let empty = AccessList::default();
        let list = configuration.access_lists.get(name).unwrap_or(&empty);
        for (_, rule) in list.rules() {
            let _ = writeln!(text, "\t    access-list {name} {}", acl_rule(rule));
        }
    }
    if let Some(current) = current {
        let _ = writeln!(text, "\tCurrent peer: {current}");
    }
    if !manual {
        security_association(text, configuration, body);
    }
    transforms(text, configuration, body);
}

fn transforms(text: &mut String, configuration: &Configuration, body: &EntryBody) {
    let _ = writeln!(text, "\tTransform sets={{ ");
    for name in &body.transform_sets {
        let transform = configuration.transform_sets.get(name).map(transform_text).unwrap_or_default();
        let _ = writeln!(text, "\t\t{name}:  {{ {transform}  }} , ");
    }
    text.push_str("\t}\n");
    if let Some(route) = &body.reverse_route {
        text.push_str(reverse_route(route));
    }
}

fn security_association(text: &mut String, configuration: &Configuration, body: &EntryBody) {
    let globals = &configuration.ipsec;
    let seconds = body.lifetime.seconds.or(globals.lifetime.seconds).unwrap_or(Lifetime::SECONDS);
    let kilobytes = body.lifetime.kilobytes.or(globals.lifetime.kilobytes);
    let _ = match kilobytes.unwrap_or(KilobyteLimit::Kilobytes(Lifetime::KILOBYTES)) {
        KilobyteLimit::Kilobytes(kilobytes) => {
            writeln!(text, "\tSecurity association lifetime: {kilobytes} kilobytes/{seconds} seconds")
        }
        KilobyteLimit::Disabled => writeln!(text, "\tSecurity association lifetime: {seconds} seconds"),
    };
    if let Some(idle) = body.idle {
        let _ = writeln!(text, "\tSecurity association idletime: {} seconds", idle.seconds);
    }
    if body.per_host {
        text.push_str("\tSecurity association level: per-host\n");
    }
    text.push_str("\tDualstack (Y/N): N\n\n\tResponder-Only (Y/N): N\n");
    match body.pfs {
        Some(group) => drop(writeln!(text, "\tPFS (Y/N): Y\n\tDH group:  group{}", group.0)),
        None => text.push_str("\tPFS (Y/N): N\n"),
    }
    text.push_str("\tMixed-mode : Disabled\n");
}

fn reverse_route(route: &ReverseRoute) -> &'static str {
    if route.static_routes {
        "\tReverse Route Injection Enabled static\n"
    } else {
        "\tReverse Route Injection Enabled\n"
    }
}

fn interfaces_using(text: &mut String, configuration: &Configuration, map: &str) {
    let _ = writeln!(text, "\tInterfaces using crypto map {map}:");
    for interface in configuration.interfaces_using(map) {
        let _ = writeln!(text, "\t\t{interface}");
    }
    text.push('\n');
}
