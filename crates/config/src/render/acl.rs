//! Access lists.

use std::fmt::Write;

use super::Writer;
use crate::Configuration;
use crate::model::{
    AccessGroups, AccessList, AclAction, AclAddress, AclLine, AclRule, PortMatch, ServiceMatch,
};
use crate::tree::{DSCPS, ICMP_TYPES, PRECEDENCES, PROTOCOLS, TCP_PORTS, UDP_PORTS};

pub(super) fn access_lists(out: &mut Writer, configuration: &Configuration) {
    for (name, list) in &configuration.access_lists {
        access_list(out, name, list);
        out.section();
    }
}

/// Sequence numbers 10, 20, 30 … are not printed, since they are the default. A numbered list then
/// has its classic form.
fn access_list(out: &mut Writer, name: &str, list: &AccessList) {
    let plain = list.numbered_by_default();
    let classic = plain && name.parse::<u16>().is_ok() && !list.lines.is_empty();
    let prefix = if classic { format!("access-list {name} ") } else { " ".into() };
    if !classic {
        out.line(format_args!("ip access-list extended {name}"));
    }
    for line in &list.lines {
        match line {
            AclLine::Remark(text) => out.line(format_args!("{prefix}remark {text}")),
            AclLine::Rule(_, rule) if plain => out.line(format_args!("{prefix}{}", acl_rule(rule))),
            AclLine::Rule(sequence, rule) => out.line(format_args!("{prefix}{sequence} {}", acl_rule(rule))),
        }
    }
}

/// The `access-group` lines of an interface or an entry, after `prefix`.
pub(super) fn access_groups(out: &mut Writer, prefix: &str, groups: &AccessGroups) {
    for (list, direction) in groups.iter() {
        out.line(format_args!("{prefix}ip access-group {list} {direction}"));
    }
}

/// A rule, starting with `permit` or `deny`.
pub(crate) fn acl_rule(rule: &AclRule) -> String {
    let action = match rule.action {
        AclAction::Permit => "permit",
        AclAction::Deny => "deny",
    };
    let protocol = match rule.protocol {
        None => "ip".into(),
        Some(number) => name_of(PROTOCOLS, number.into()),
    };
    let mut text = format!("{action} {protocol} {}", acl_address(&rule.source));
    port(&mut text, rule.protocol, rule.source_port);
    let _ = write!(text, " {}", acl_address(&rule.destination));
    port(&mut text, rule.protocol, rule.destination_port);
    if let Some(icmp) = rule.icmp {
        match icmp.code {
            Some(code) => drop(write!(text, " {} {code}", icmp.kind)),
            None => drop(write!(text, " {}", name_of(ICMP_TYPES, icmp.kind.into()))),
        }
    }
    let options = &rule.options;
    text.push_str(if options.established { " established" } else { "" });
    match options.service {
        Some(ServiceMatch::Dscp(dscp)) => drop(write!(text, " dscp {}", name_of(DSCPS, dscp.into()))),
        Some(ServiceMatch::Precedence(precedence)) => {
            let _ = write!(text, " precedence {}", name_of(PRECEDENCES, precedence.into()));
        }
        None => {}
    }
    for (on, word) in
        [(options.fragments, " fragments"), (options.log, " log"), (options.log_input, " log-input")]
    {
        text.push_str(if on { word } else { "" });
    }
    text
}

/// `any`, `host A` or `A wildcard`.
pub(crate) fn acl_address(address: &AclAddress) -> String {
    match address {
        AclAddress::Any => "any".into(),
        AclAddress::Host(host) => format!("host {host}"),
        AclAddress::Wildcard(network, wildcard) => format!("{network} {wildcard}"),
    }
}

fn port(text: &mut String, protocol: Option<u8>, port: Option<PortMatch>) {
    let name = |number| port_name(protocol, number);
    let _ = match port {
        None => Ok(()),
        Some(PortMatch::Equal(p)) => write!(text, " eq {}", name(p)),
        Some(PortMatch::NotEqual(p)) => write!(text, " neq {}", name(p)),
        Some(PortMatch::Greater(p)) => write!(text, " gt {}", name(p)),
        Some(PortMatch::Less(p)) => write!(text, " lt {}", name(p)),
        Some(PortMatch::Range(first, last)) => write!(text, " range {} {}", name(first), name(last)),
    };
}

/// The well-known name of a port where IOS prints one.
pub(crate) fn port_name(protocol: Option<u8>, port: u16) -> String {
    name_of(if protocol == Some(17) { UDP_PORTS } else { TCP_PORTS }, port.into())
}

fn name_of(table: &[(&str, u64)], number: u64) -> String {
    table.iter().find(|(_, n)| *n == number).map_or_else(|| number.to_string(), |(name, _)| (*name).into())
}
