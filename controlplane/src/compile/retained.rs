//! Retained protection: while a session is in configuration mode, everything that was protected
//! when the session entered it stays protected, in union with what the configuration protects now.
//!
//! A rule list is ordered and a deny is a forward jump. The union of two lists is therefore the old
//! list followed by the new one: jumps past the end of the old list, and its end, lead to the first
//! rule of the new list. Traffic that the old list protects is still protected by its rules; the
//! new list decides about all other traffic.

use sa_table::{Action, MAX_CRYPTO_ADDRESSES, PortRange, PortRecord, Prefix, Rule, union};

use super::filters::carry_over;
use super::{Entry, Plan};

/// Maximum number of rule comparisons in [`covers`]. When it is exceeded the union is published,
/// which never protects less.
const COMPARISONS: usize = 1 << 20;

/// Adds to `plan` what `old` protects on any device and `plan` does not, with the entries that its
/// SAs need. Returns true if something was added.
pub fn retain(plan: &mut Plan, old: &Plan) -> bool {
    let mut added = false;
    for port in &old.ports {
        let rules = rules_of(old, port);
        added |= retain_everywhere(plan, port, rules);
        if port.device.is_empty() {
            continue;
        }
        let place = plan.ports.iter().position(|now| now.device == port.device);
        let now = place.map_or(&[][..], |place| rules_of(plan, &plan.ports[place]));
        if rules.is_empty() || covers(now, rules) {
            continue;
        }
        added = true;
        let now = now.to_vec();
        retain_policies(plan, old, &port.ios_name);
        let list = union([&usable(rules, plan)[..], &now]);
        set_list(plan, place, port, list);
    }
    added
}

/// A map that dropped its traffic on every device continues to do so.
fn retain_everywhere(plan: &mut Plan, port: &PortRecord, rules: &[Rule]) -> bool {
    let everywhere = |port: &PortRecord| port.device.is_empty() || port.fail_close;
    let stays = |now: &PortRecord| everywhere(now) && covers(rules_of(plan, now), rules);
    if rules.is_empty() || !everywhere(port) || plan.ports.iter().any(stays) {
        return false;
    }
    let dropped = rules.iter().map(|rule| match rule.action {
        Action::Protect(_) => Rule { action: Action::Drop, ..*rule },
        _ => *rule,
    });
    let nowhere = PortRecord { device: String::new(), ifindex: 0, is_shut: true, ..port.clone() };
    set_list(plan, None, &nowhere, dropped.collect());
    true
}

fn rules_of<'p>(plan: &'p Plan, port: &PortRecord) -> &'p [Rule] {
    port.rule_list.and_then(|list| plan.rules.get(list as usize)).map_or(&[], Vec::as_slice)
}

/// Adds the policies of permits that `plan` no longer has, with the entries that they need.
fn retain_policies(plan: &mut Plan, old: &Plan, interface: &str) {
    for (id, key) in old.policies.iter().filter(|(_, key)| key.entry.interface.as_str() == interface) {
        if plan.policies.contains_key(id) {
            continue;
        }
        if let Some(manual) = old.manual.get(&key.entry) {
            // A hand-keyed entry has only one pair; the pair of the new permit replaces it.
            if plan.manual.contains_key(&key.entry) {
                continue;
            }
            plan.manual.insert(key.entry.clone(), manual.clone());
        } else {
            let Some(entry) = old.entries.get(&key.entry) else { continue };
            let without_policies = || Entry { policies: Vec::new(), ..entry.clone() };
            plan.entries.entry(key.entry.clone()).or_insert_with(without_policies).policies.push(*id);
        }
        plan.policies.insert(*id, key.clone());
        carry_over(&mut plan.filters, &old.filters, *id);
    }
    for template in old.templates.iter().filter(|template| template.key.interface.as_str() == interface) {
        match plan.templates.iter_mut().find(|now| now.key == template.key) {
            Some(now) => retain_permits(&mut now.permits, &template.permits),
            None => plan.templates.push(template.clone()),
        }
    }
}

/// Keeps the old permits of a template, ahead of the new ones: a peer may still propose them while
/// the edit is in progress.
fn retain_permits<P: Clone + PartialEq>(now: &mut Vec<P>, old: &[P]) {
    let added = now.iter().filter(|permit| !old.contains(permit)).cloned();
    *now = old.iter().cloned().chain(added).collect();
}

/// The rules, with a drop where the policy no longer has an entry.
fn usable(rules: &[Rule], plan: &Plan) -> Vec<Rule> {
    let action = |action| match action {
        Action::Protect(policy) if !plan.policies.contains_key(&policy) => Action::Drop,
        other => other,
    };
    rules.iter().map(|rule| Rule { action: action(rule.action), ..*rule }).collect()
}

/// Sets the rule list of the device of `port`: the port at index `place`, or a new port if the
/// configuration no longer has it.
fn set_list(plan: &mut Plan, place: Option<usize>, port: &PortRecord, list: Vec<Rule>) {
    let place = place.unwrap_or_else(|| {
        let id = u16::try_from(plan.ports.len()).unwrap_or(u16::MAX);
        let bare = PortRecord { id, has_crypto_map: false, rule_list: None, ..port.clone() };
        plan.ports.push(bare);
        plan.ports.len() - 1
    });
    let number = match plan.ports[place].rule_list {
        Some(number) => number,
        None => {
            plan.rules.push(Vec::new());
            u32::try_from(plan.rules.len() - 1).unwrap_or(u32::MAX)
        }
    };
    if let Some(rules) = plan.rules.get_mut(number as usize) {
        *rules = list;
    }
    let now = &mut plan.ports[place];
    now.has_crypto_map = true;
    now.rule_list = Some(number);
    for address in &port.crypto_addresses {
        if !now.crypto_addresses.contains(address) && now.crypto_addresses.len() < MAX_CRYPTO_ADDRESSES {
            now.crypto_addresses.push(*address);
        }
    }
}

/// Whether `new` is `old` plus rules that take no packet away from it: none of the added rules
/// overlaps a later rule of `old`. Then `new` protects everything that `old` does, with the same
/// SAs. A false negative only costs a longer list.
fn covers(new: &[Rule], old: &[Rule]) -> bool {
    let mut places = Vec::with_capacity(old.len());
    let mut left = COMPARISONS;
    for (place, rule) in new.iter().enumerate() {
        let later = &old[places.len()..];
        if later.first().is_some_and(|expected| stands_for(rule, expected)) {
            places.push(place);
            continue;
        }
        let Some(rest) = left.checked_sub(later.len()) else { return false };
        left = rest;
        if later.iter().any(|other| overlap(rule, other)) {
            return false;
        }
    }
    places.len() == old.len() && jumps_agree(new, old, &places)
}

/// Whether a rule of the new list has the same effect as one of the old list, apart from jump
/// targets, which [`jumps_agree`] compares.
fn stands_for(new: &Rule, old: &Rule) -> bool {
    let same_action = match (new.action, old.action) {
        (Action::Jump(_), Action::Jump(_)) | (Action::Protect(_), Action::Drop) => true,
        (new, old) => new == old,
    };
    same_action && Rule { action: old.action, ..*new } == *old
}

/// Whether each jump of the old list skips the same old rules in the new list. `places` gives the
/// position of each old rule in the new list.
fn jumps_agree(new: &[Rule], old: &[Rule], places: &[usize]) -> bool {
    old.iter().zip(places).enumerate().all(|(from, (rule, place))| {
        let (Action::Jump(before), Action::Jump(now)) = (rule.action, new[*place].action) else {
            return true;
        };
        let (before, now) = (before as usize, now as usize);
        let skips_enough = before <= from + 1 || places.get(before - 1).is_none_or(|last| *last < now);
        let skips_no_more = places.get(before).is_none_or(|first| now <= *first);
        skips_enough && skips_no_more
    })
}

/// Whether a packet can match both rules.
fn overlap(a: &Rule, b: &Rule) -> bool {
    let prefixes = |a: Prefix, b: Prefix| {
        let (wide, narrow) = if a.length <= b.length { (a, b) } else { (b, a) };
        wide.contains(narrow.address)
    };
    let ports = |a: PortRange, b: PortRange| a.first <= b.last && b.first <= a.last;
    let protocols = a.protocol.is_none() || b.protocol.is_none() || a.protocol == b.protocol;
    protocols
        && prefixes(a.destination, b.destination)
        && prefixes(a.source, b.source)
        && ports(a.source_ports, b.source_ports)
        && ports(a.destination_ports, b.destination_ports)
}

#[cfg(test)]
mod tests;
