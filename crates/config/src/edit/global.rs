//! Global configuration commands except `crypto`.

use super::interface::name_unprotected_at;
use super::{ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::model::{HashedSecret, NextHop, Prefix, Route, User};
use crate::render::MASK;
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply("hostname / <hostname:WORD>", hostname),
    apply("interface <interface:INTERFACE> /", interface),
    apply(
        "ip route <network:A.B.C.D> <mask:A.B.C.D> / {<gateway:A.B.C.D> | <interface:INTERFACE>} [<distance:1-255>]",
        route,
    ),
    apply("ipv6 route <network6:X:X/N> / {<gateway:IP> | <interface:INTERFACE>} [<distance:1-255>]", route),
    apply("ip host <name:HOST-NAME> / [<port:1-65535>] {<address:IP>}*8", ip_host),
    apply("ip name-server / {<address:IP>}*6", name_server),
    apply("ip {domain name | =domain-name} / <domain:HOST-NAME>", domain_name),
    apply("ip {domain lookup | =domain-lookup} /", domain_lookup),
    apply(
        "username <name:WORD> / [privilege <level:0-15>] [nopassword | {secret | =password} \
         {0 <password:WORD> | 5 <hash:WORD> | 8 <hash:WORD> | 9 <hash:WORD> | <password:WORD>}]",
        username,
    ),
    apply(
        "enable secret / {0 <password:WORD> | 5 <hash:WORD> | 8 <hash:WORD> | 9 <hash:WORD> | <password:WORD>}",
        enable_secret,
    ),
    apply("line {console | vty | aux} <first:0-1869> / [<last:0-1869>]", line),
    apply("logging host / <address:IP>", logging_host),
    apply("version <text:LINE>", nothing),
    keep(
        "logging {buffered | console | facility | monitor | on | origin-id | source-interface | trap | userinfo} / \
         [<text:LINE>]",
        kept,
    ),
    keep("service / <text:LINE>", service),
    keep(
        "ip {cef | classless | forward-protocol | http | scp | ssh | subnet-zero | tcp} / [<text:LINE>]",
        kept,
    ),
    keep("ipv6 {cef | unicast-routing} / [<text:LINE>]", kept),
    keep(
        "{aaa | archive | boot | clock | ntp | snmp-server | multilink | redundancy | scheduler} / [<text:LINE>]",
        kept,
    ),
    keep("cdp run /", kept),
];

fn kept<'c>(configuration: &'c mut Configuration, _: &Mode) -> Option<&'c mut Vec<String>> {
    Some(&mut configuration.system.kept)
}

fn service<'c>(configuration: &'c mut Configuration, _: &Mode) -> Option<&'c mut Vec<String>> {
    Some(&mut configuration.system.service)
}

/// `version 17.3` is the first line of configurations saved by IOS; it is ignored.
fn nothing(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Ok(())
}

fn hostname(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let name = args.text("hostname").filter(|_| !args.negated()).unwrap_or("Router");
    let legal = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !legal {
        return Err(EditError("% Hostname contains one or more illegal characters.".into()));
    }
    editor.configuration.system.hostname = name.into();
    Ok(())
}

fn interface(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.interface("interface") else { return Ok(()) };
    if args.negated() {
        let what = "the crypto map is off this interface";
        name_unprotected_at(editor, name, what, "leaves in clear by its device");
        editor.configuration.interfaces.remove(name);
        editor.mode = Mode::Global;
    } else {
        editor.configuration.interfaces.entry(name.clone()).or_default();
        editor.mode = Mode::Interface(name.clone());
    }
    Ok(())
}

fn route(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let prefix = match (args.ipv4("network"), args.ipv4("mask"), args.prefix("network6")) {
        (_, _, Some((network, length))) => Prefix::v6(network, length),
        (Some(network), Some(mask), None) => {
            let length = Prefix::mask_length(mask).map(|length| Prefix::v4(network, length));
            match length.filter(|prefix| prefix.address == network) {
                Some(prefix) => prefix,
                None => return Err(EditError("%Inconsistent address and mask".into())),
            }
        }
        _ => return Ok(()),
    };
    let next_hop = match (args.address("gateway"), args.interface("interface")) {
        (Some(gateway), _) => Some(NextHop::Address(gateway)),
        (None, Some(interface)) => Some(NextHop::Interface(interface.clone())),
        (None, None) => None,
    };
    let routes = &mut editor.configuration.routes;
    if let Some(NextHop::Address(gateway)) = &next_hop
        && gateway.is_ipv4() != prefix.address.is_ipv4()
    {
        return Err(EditError::rule("the gateway is of another address family than the prefix"));
    }
    let distance = args.small("distance").unwrap_or(1);
    let position = |routes: &[Route], hop: &NextHop| {
        routes.iter().position(|route| route.prefix == prefix && route.next_hop == *hop)
    };
    match (args.negated(), next_hop) {
        (true, None) => routes.retain(|route| route.prefix != prefix),
        (true, Some(hop)) => match position(routes, &hop) {
            Some(at) => drop(routes.remove(at)),
            None => return Err(EditError("%No matching route to delete".into())),
        },
        (false, Some(hop)) => match position(routes, &hop) {
            Some(at) => routes[at].distance = distance,
            None => routes.push(Route { prefix, next_hop: hop, distance }),
        },
        (false, None) => {}
    }
    Ok(())
}

fn ip_host(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("name").map(str::to_ascii_lowercase) else { return Ok(()) };
    let addresses: Vec<_> = args.addresses("address").collect();
    let hosts = &mut editor.configuration.system.hosts;
    if !args.negated() {
        hosts.insert(name, addresses);
        return Ok(());
    }
    if let Some(known) = hosts.get_mut(&name) {
        known.retain(|address| !addresses.is_empty() && !addresses.contains(address));
        if known.is_empty() {
            hosts.remove(&name);
        }
    }
    Ok(())
}

fn name_server(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let addresses: Vec<_> = args.addresses("address").collect();
    let servers = &mut editor.configuration.system.name_servers;
    match args.negated() {
        true => servers.retain(|server| !addresses.is_empty() && !addresses.contains(server)),
        false => {
            for address in addresses {
                if !servers.contains(&address) {
                    servers.push(address);
                }
            }
        }
    }
    Ok(())
}

fn domain_name(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.system.domain_name =
        args.text("domain").filter(|_| !args.negated()).map(String::from);
    Ok(())
}

fn domain_lookup(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.system.domain_lookup = args.form != crate::tree::Form::No;
    Ok(())
}

fn username(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("name") else { return Ok(()) };
    if args.negated() {
        editor.configuration.system.users.remove(name);
        return Ok(());
    }
    let secret = secret(args)?;
    let users = &mut editor.configuration.system.users;
    let user = users.entry(name.into()).or_insert(User { privilege: 1, secret: None });
    user.privilege = args.small("level").unwrap_or(user.privilege);
    if secret.is_some() || args.has("nopassword") {
        user.secret = secret;
    }
    Ok(())
}

fn enable_secret(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.system.enable_secret = if args.negated() { None } else { secret(args)? };
    Ok(())
}

/// The secret of a line: clear text is hashed at once and never stored.
fn secret(args: &Args) -> Result<Option<HashedSecret>, EditError> {
    if args.texts("password").chain(args.texts("hash")).any(|text| text == MASK) {
        return Err(EditError::rule(format_args!(
            "\"{MASK}\" stands for a hidden secret; type the secret itself"
        )));
    }
    if let Some(hash) = args.text("hash") {
        let kind = if args.has("8") {
            8
        } else if args.has("9") {
            9
        } else {
            5
        };
        return Ok(Some(HashedSecret { kind, text: crate::model::Secret::new(hash) }));
    }
    let Some(password) = args.text("password") else { return Ok(None) };
    match HashedSecret::hash(password) {
        Some(secret) => Ok(Some(secret)),
        None => Err(EditError::rule("the system gives no random bytes for the salt; try again")),
    }
}

fn line(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let kind = match args.one_of(&["console", "vty", "aux"]) {
        Some("console") => "con",
        Some(other) => other,
        None => return Ok(()),
    };
    let first = args.number("first").unwrap_or(0);
    let name = match args.number("last") {
        Some(last) if last < first => return Err(EditError("% Bad line range".into())),
        Some(last) => format!("{kind} {first} {last}"),
        None => format!("{kind} {first}"),
    };
    if args.negated() {
        editor.configuration.system.lines.remove(&name);
        editor.mode = Mode::Global;
    } else {
        editor.configuration.system.lines.entry(name.clone()).or_default();
        editor.mode = Mode::Line(name);
    }
    Ok(())
}

fn logging_host(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let address = args.address("address");
    let hosts = &mut editor.configuration.system.logging_hosts;
    hosts.retain(|host| Some(*host) != address && !(args.negated() && address.is_none()));
    if !args.negated() {
        hosts.extend(address);
    }
    Ok(())
}
