//! `interface` mode.

use std::net::IpAddr;

use super::{ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::commit;
use crate::model::{Interface, InterfaceAddress, InterfaceName, Prefix};
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply("device / <device:WORD>", device),
    apply("description / <text:LINE>", description),
    apply("ip address / {dhcp | <address:A.B.C.D> <mask:A.B.C.D> [secondary]}", ip_address),
    apply("ipv6 address / <address6:X:X/N>", ipv6_address),
    apply("mtu / <bytes:68-9216>", mtu),
    apply("shutdown /", shutdown),
    apply("crypto map / <map:WORD>", crypto_map),
    apply("crypto map <map:WORD> redundancy <group:WORD> [stateful]", redundancy),
    keep("ip mtu / <bytes:68-9216>", kept),
    keep("ip tcp adjust-mss / <bytes:500-1460>", kept),
    keep("ip nat / {inside | outside}", kept),
    apply("ip access-group / <acl:ACL> {in | out}", access_group),
    keep("ip {redirects | unreachables | proxy-arp | virtual-reassembly} /", kept),
    keep("ipv6 enable /", kept),
    keep("bandwidth / <kilobits:1-10000000>", kept),
    keep("delay / <tens:1-16777215>", kept),
    keep("duplex / {auto | full | half}", kept),
    keep("speed / {10 | 100 | 1000 | 10000 | auto}", kept),
    keep("negotiation auto /", kept),
    keep("cdp enable /", kept),
    keep("load-interval / <seconds:30-600>", kept),
    keep("crypto ipsec df-bit / {clear | set | copy}", kept),
    keep("crypto ipsec fragmentation / {before-encryption | after-encryption}", kept),
];

fn kept<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut Vec<String>> {
    match mode {
        Mode::Interface(name) => configuration.interfaces.get_mut(name).map(|interface| &mut interface.kept),
        _ => None,
    }
}

/// Runs `change` on the interface that is being edited.
fn edit(editor: &mut Editor<'_>, change: impl FnOnce(&mut Interface)) {
    if let Mode::Interface(name) = &editor.mode
        && let Some(interface) = editor.configuration.interfaces.get_mut(name)
    {
        change(interface);
    }
}

fn device(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let device = args.text("device").filter(|_| !args.negated()).map(String::from);
    if let Some(name) = &device {
        // The kernel's limit (IFNAMSIZ) leaves 15 characters.
        if name.len() > 15 || name.contains('/') {
            return Err(EditError::rule(format_args!("{name} cannot be the name of a Linux interface")));
        }
        let this = match &editor.mode {
            Mode::Interface(this) => Some(this),
            _ => None,
        };
        let other = editor
            .configuration
            .interfaces
            .iter()
            .find(|(other, interface)| Some(*other) != this && interface.device_name(other) == name);
        if let Some((other, _)) = other {
            return Err(EditError::rule(format_args!("device {name} already belongs to interface {other}")));
        }
    }
    let now = match &editor.mode {
        Mode::Interface(name) => {
            let interface = editor.configuration.interfaces.get(name);
            interface.map(|interface| {
                (interface.device_name(name).to_owned(), device.as_deref().unwrap_or(name.as_str()))
            })
        }
        _ => None,
    };
    if let Some((old, new)) = now.filter(|(old, new)| old != new) {
        let what = format!("the crypto map is off device {old} and on {new}");
        name_unprotected(editor, &what, "leaves in clear by the old device");
    }
    edit(editor, |interface| interface.device = device);
    Ok(())
}

/// Adds a notice about the traffic of the interface's crypto map that will lose its protection when
/// configuration mode is left.
fn name_unprotected(editor: &mut Editor<'_>, what: &str, consequence: &str) {
    let Mode::Interface(name) = editor.mode.clone() else { return };
    name_unprotected_at(editor, &name, what, consequence);
}

/// The same for an interface given by name.
pub(super) fn name_unprotected_at(
    editor: &mut Editor<'_>,
    name: &InterfaceName,
    what: &str,
    consequence: &str,
) {
    let permits = commit::protected_by(editor.configuration, name);
    let map = editor.configuration.interfaces.get(name).and_then(|interface| interface.crypto_map.as_ref());
    let Some(set) =
        map.and_then(|map| editor.configuration.crypto_maps.get(map)).filter(|_| !permits.is_empty())
    else {
        return;
    };
    let consequence = if set.fail_close { "is dropped on every device (fail-close)" } else { consequence };
    editor.interactive_notice(format!(
        "%NOTE: {name}: when configuration mode is left, {what}, and this {consequence}:"
    ));
    for permit in permits {
        editor.interactive_notice(format!("%NOTE:   {permit}"));
    }
}

fn description(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let text = args.text("text").filter(|_| !args.negated()).map(String::from);
    edit(editor, |interface| interface.description = text);
    Ok(())
}

fn ip_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (address, mask) = (args.ipv4("address"), args.ipv4("mask"));
    if args.negated() {
        edit(editor, |interface| {
            interface.dhcp = false;
            interface.addresses.retain(|a| match (a.address, address) {
                (IpAddr::V4(have), Some(wanted)) => have != wanted,
                (IpAddr::V4(_), None) => false,
                (IpAddr::V6(_), _) => true,
            });
        });
        return Ok(());
    }
    let (Some(address), Some(mask)) = (address, mask) else {
        edit(editor, |interface| {
            interface.dhcp = true;
            interface.addresses.retain(|a| a.address.is_ipv6());
        });
        return Ok(());
    };
    let Some(length) = Prefix::mask_length(mask) else {
        return Err(EditError(format!("Bad mask 0x{:X} for address {address}", u32::from(mask))));
    };
    let prefix = Prefix::v4(address, length);
    let broadcast = u32::from(address) | !u32::from(mask);
    if length < 31 && (prefix.address == IpAddr::V4(address) || broadcast == u32::from(address)) {
        return Err(EditError(format!("Bad mask /{length} for address {address}")));
    }
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() || address.is_broadcast() {
        return Err(EditError("Not a valid host address - ".to_string() + &address.to_string()));
    }
    let secondary = args.has("secondary");
    let new = InterfaceAddress { address: address.into(), length, secondary };
    edit(editor, |interface| {
        interface.dhcp = false;
        let old = interface.addresses.iter().position(|a| a.address == new.address);
        let old = old.or_else(|| {
            let primary = |a: &InterfaceAddress| a.address.is_ipv4() && !a.secondary;
            interface.addresses.iter().position(primary).filter(|_| !secondary)
        });
        if let Some(at) = old {
            interface.addresses.remove(at);
        }
        // Printing order: the primary IPv4 address, secondary ones, IPv6.
        let rank = |a: &InterfaceAddress| (a.address.is_ipv6(), a.secondary);
        let at = interface.addresses.partition_point(|a| rank(a) <= rank(&new));
        interface.addresses.insert(if secondary { at } else { 0 }, new);
    });
    Ok(())
}

fn ipv6_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let wanted = args.prefix("address6");
    edit(editor, |interface| {
        interface.addresses.retain(|a| match wanted {
            Some((address, _)) => a.address != IpAddr::V6(address),
            None => a.address.is_ipv4(),
        });
        if let (Some((address, length)), false) = (wanted, args.negated()) {
            interface.addresses.push(InterfaceAddress { address: address.into(), length, secondary: false });
        }
    });
    Ok(())
}

fn mtu(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mtu = args.small("bytes").filter(|_| !args.negated());
    edit(editor, |interface| interface.mtu = mtu);
    Ok(())
}

fn shutdown(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let is_up = matches!(&editor.mode, Mode::Interface(name)
        if editor.configuration.interfaces.get(name).is_some_and(|interface| !interface.shutdown));
    if is_up && !args.negated() {
        name_unprotected(editor, "the interface is shut down", "has no SA here");
    }
    edit(editor, |interface| interface.shutdown = !args.negated());
    Ok(())
}

fn crypto_map(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let map = args.text("map").map(String::from);
    let goes = |editor: &Editor<'_>| {
        let Mode::Interface(name) = &editor.mode else { return false };
        let now =
            editor.configuration.interfaces.get(name).and_then(|interface| interface.crypto_map.as_ref());
        args.negated() && now.is_some() && map.as_ref().is_none_or(|map| Some(map) == now)
    };
    if goes(editor) {
        name_unprotected(editor, "the crypto map is off this interface", "leaves in clear by it");
    }
    let had_any = editor.configuration.interfaces.values().any(|i| i.crypto_map.is_some());
    edit(editor, |interface| match (args.negated(), &map) {
        (true, Some(map)) if interface.crypto_map.as_ref() != Some(map) => {}
        (true, _) => interface.crypto_map = None,
        (false, _) => interface.crypto_map.clone_from(&map),
    });
    let has_any = editor.configuration.interfaces.values().any(|i| i.crypto_map.is_some());
    match (had_any, has_any) {
        (false, true) => editor.interactive_notice("%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is ON"),
        (true, false) => editor.interactive_notice("%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is OFF"),
        _ => {}
    }
    Ok(())
}

fn access_group(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit(editor, |interface| super::access_list::access_group(&mut interface.access_groups, args));
    Ok(())
}

fn redundancy(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Err(EditError::rule("a crypto map with redundancy is not implemented; leave \"redundancy …\" out"))
}
