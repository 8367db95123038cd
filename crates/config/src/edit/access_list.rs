//! Access lists: `access-list N …` and `ip access-list extended` mode.

use super::{ConfigCommand, EditError, Editor, Mode, apply};
use crate::commit;
use crate::model::{
    AccessGroups, AccessList, AclAction, AclAddress, AclLine, AclOptions, AclRule, IcmpType, Inserted,
    PortMatch, ServiceMatch,
};
use crate::tree::{Args, Value};

pub(super) const GLOBAL: &[ConfigCommand] = &[
    apply("access-list {<acl:100-199> | <acl:2000-2699>} / $ACE", numbered_rule),
    apply("access-list {<acl:100-199> | <acl:2000-2699>} / remark <text:LINE>", numbered_remark),
    apply("ip access-list extended <name:ACL> /", named_list),
    apply("ip access-list resequence <name:ACL> <start:1-2147483647> <step:1-2147483647>", resequence),
];

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply("[<sequence:1-2147483647>] $ACE /", rule),
    apply("[<sequence:1-2147483647>] remark / <text:LINE>", remark),
    apply("<sequence:1-2147483647> /", by_number),
];

fn numbered_rule(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.number("acl").map(|n| n.to_string()) else { return Ok(()) };
    if args.negated() {
        // As in IOS, `no access-list 101 …` removes the whole list, regardless of the rest of the
        // line.
        remove(editor, &name, &format!("\"no access-list {name}\""));
        return Ok(());
    }
    editor.configuration.access_lists.entry_or_default(name.clone());
    add(editor, &name, None, parse_rule(args)?)
}

/// Removes a list with a notice, because traffic that a crypto map protects by it may lose its
/// protection.
fn remove(editor: &mut Editor<'_>, name: &str, typed: &str) {
    let user = commit::user_of_list(editor.configuration, name);
    editor.known_rules.forget();
    let Some(list) = editor.configuration.access_lists.remove(name) else { return };
    let (lines, stay) = match list.rules().count() {
        1 => ("1 line".to_owned(), "stays"),
        count => (format!("{count} lines"), "stay"),
    };
    match user.filter(|_| !editor.from_file) {
        Some(user) => editor.notice(format!(
            "%NOTE: {typed} removes the whole list; its {lines} {stay} in force until configuration mode is left, as {user} \
             uses them: type the new ones before \"end\""
        )),
        None => editor.notice(format!("%NOTE: {typed} removes the whole list ({lines})")),
    }
}

fn numbered_remark(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.number("acl").map(|n| n.to_string()) else { return Ok(()) };
    let list = editor.configuration.access_lists.entry_or_default(name);
    edit_remark(list, args);
    Ok(())
}

fn named_list(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("name") else { return Ok(()) };
    if args.negated() {
        remove(editor, name, &format!("\"no ip access-list extended {name}\""));
        editor.mode = Mode::Global;
    } else {
        editor.configuration.access_lists.entry_or_default(name.into());
        editor.mode = Mode::AccessList(name.into());
    }
    Ok(())
}

fn resequence(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (Some(name), Some(start), Some(step)) = (args.text("name"), args.small("start"), args.small("step"))
    else {
        return Ok(());
    };
    match editor.configuration.access_lists.get_mut(name).map(|list| list.resequence(start, step)) {
        Some(true) => Ok(()),
        Some(false) => Err(EditError::rule("the sequence numbers would exceed 2147483647")),
        None => Err(EditError::rule(format_args!("there is no access list {name}"))),
    }
}

fn current<'a>(editor: &'a mut Editor<'_>) -> Option<&'a mut AccessList> {
    match &editor.mode {
        Mode::AccessList(name) => editor.configuration.access_lists.get_mut(name),
        _ => None,
    }
}

fn rule(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let rule = parse_rule(args)?;
    if args.negated() {
        if let Some(list) = current(editor) {
            list.lines.retain(|line| !matches!(line, AclLine::Rule(_, have) if *have == rule));
        }
        editor.known_rules.forget();
        return Ok(());
    }
    let Mode::AccessList(name) = editor.mode.clone() else { return Ok(()) };
    add(editor, &name, args.small("sequence"), rule)
}

fn remark(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if let Some(list) = current(editor) {
        edit_remark(list, args);
    }
    Ok(())
}

fn edit_remark(list: &mut AccessList, args: &Args) {
    let text = args.text("text").map(String::from);
    match (args.negated(), text) {
        (true, text) => {
            list.lines.retain(
                |line| !matches!(line, AclLine::Remark(have) if text.as_ref().is_none_or(|t| t == have)),
            );
        }
        (false, Some(text)) => list.lines.push(AclLine::Remark(text)),
        (false, None) => {}
    }
}

fn by_number(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if !args.negated() {
        return Err(EditError("% Incomplete command.".into()));
    }
    let number = args.small::<u32>("sequence");
    if let Some(list) = current(editor) {
        list.lines.retain(|line| !matches!(line, AclLine::Rule(have, _) if Some(*have) == number));
    }
    editor.known_rules.forget();
    Ok(())
}

/// Adds a rule. An identical rule changes nothing, so that a configuration can be sent twice. A
/// rule with an explicit sequence number replaces the one with that number.
fn add(editor: &mut Editor<'_>, name: &str, sequence: Option<u32>, rule: AclRule) -> Result<(), EditError> {
    let known = &mut *editor.known_rules;
    let Some(list) = editor.configuration.access_lists.get_mut(name) else { return Ok(()) };
    if sequence.is_none() && known.contains(name, list, &rule) {
        return Ok(());
    }
    let Some(sequence) = sequence.or(list.next_sequence()) else {
        return Err(EditError::rule("the sequence numbers are used up; type \"ip access-list resequence\""));
    };
    match list.insert(sequence, rule) {
        Inserted::Last => known.appended(name, rule),
        Inserted::Between => known.forget(),
    }
    Ok(())
}

/// `dscp` or `precedence`.
fn service(args: &Args) -> Result<Option<ServiceMatch>, EditError> {
    match (args.small("dscp"), args.small("precedence")) {
        (Some(_), Some(_)) => {
            Err(EditError::rule("\"dscp\" and \"precedence\" are the same bits; leave one of them out"))
        }
        (Some(dscp), None) => Ok(Some(ServiceMatch::Dscp(dscp))),
        (None, precedence) => Ok(precedence.map(ServiceMatch::Precedence)),
    }
}

/// `access-group N {in | out}` of an interface or an entry. The negated form removes the given
/// direction, or both, but only for the list that it names.
pub(super) fn access_group(groups: &mut AccessGroups, args: &Args) {
    let mut list = args.text("acl");
    let mut named: Vec<&str> = ["in", "out"].into_iter().filter(|word| args.has(word)).collect();
    if args.negated() && named.is_empty() {
        match list {
            // `no ip access-group in`
            Some(word @ ("in" | "out")) => (list, named) = (None, vec![word]),
            _ => named = vec!["in", "out"],
        }
    }
    for direction in named {
        let group = if direction == "in" { &mut groups.inbound } else { &mut groups.outbound };
        if !args.negated() {
            *group = list.map(String::from);
        } else if list.is_none() || group.as_deref() == list {
            *group = None;
        }
    }
}

/// Parses the rule of `$ACE`. Words are read in order, because source and destination use the same
/// ones.
fn parse_rule(args: &Args) -> Result<AclRule, EditError> {
    let mut rule = AclRule {
        action: if args.has("deny") { AclAction::Deny } else { AclAction::Permit },
        protocol: None,
        source: AclAddress::Any,
        source_port: None,
        destination: AclAddress::Any,
        destination_port: None,
        icmp: None,
        options: AclOptions {
            established: args.has("established"),
            service: service(args)?,
            fragments: args.has("fragments"),
            log: args.has("log"),
            log_input: args.has("log-input"),
        },
    };
    rule.protocol = match args.one_of(&["tcp", "udp", "icmp", "ip"]) {
        Some("tcp") => Some(6),
        Some("udp") => Some(17),
        Some("icmp") => Some(1),
        Some(_) => None,
        None => args.small("protocol"),
    };
    if rule.protocol != Some(6) && rule.options.established {
        return Err(EditError::rule("\"established\" needs tcp"));
    }
    let words: Vec<(&str, Option<&Value>)> = args.iter().collect();
    let mut sides = Vec::new();
    let mut ports = [None, None];
    let mut index = 0;
    while let Some((name, value)) = words.get(index) {
        index += 1;
        match (*name, *value) {
            ("any", None) => sides.push(AclAddress::Any),
            ("source" | "destination", Some(Value::Address(std::net::IpAddr::V4(address)))) => {
                let wildcard = match words.get(index) {
                    Some((next, Some(Value::Address(std::net::IpAddr::V4(wildcard)))))
                        if next.ends_with("-wildcard") =>
                    {
                        index += 1;
                        *wildcard
                    }
                    // `host` has no wildcard.
                    _ => std::net::Ipv4Addr::UNSPECIFIED,
                };
                sides.push(AclAddress::new(*address, wildcard));
            }
            ("eq" | "neq" | "gt" | "lt" | "range", None) => {
                let number = |at: usize| match words.get(at) {
                    Some((_, Some(Value::Number(number)))) => u16::try_from(*number).unwrap_or(0),
                    _ => 0,
                };
                let first = number(index);
                let port = match *name {
                    "eq" => PortMatch::Equal(first),
                    "neq" => PortMatch::NotEqual(first),
                    "gt" => PortMatch::Greater(first),
                    "lt" => PortMatch::Less(first),
                    _ => PortMatch::Range(first.min(number(index + 1)), first.max(number(index + 1))),
                };
                if let Some(slot) = ports.get_mut(sides.len().saturating_sub(1)) {
                    *slot = Some(port);
                }
            }
            _ => {}
        }
    }
    if let [source, destination] = sides[..] {
        (rule.source, rule.destination) = (source, destination);
    }
    [rule.source_port, rule.destination_port] = ports;
    if let Some(kind) = args.small("icmp-type") {
        rule.icmp = Some(IcmpType { kind, code: args.small("icmp-code") });
    }
    let asks_upper_layer = rule.source_port.is_some()
        || rule.destination_port.is_some()
        || rule.icmp.is_some()
        || rule.options.established;
    if rule.options.fragments && asks_upper_layer {
        return Err(EditError::rule(
            "\"fragments\" are packets without ports, flags and ICMP types; leave one or the other out",
        ));
    }
    Ok(rule)
}
