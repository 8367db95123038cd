//! A rule of a crypto-map set: what a packet is compared with, in order, first match decides.

use crate::ids::PolicyId;
use ipsec_types::{PortRange, Prefix};

/// What happens to a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Protected by the SA that the policy word names; without SA it is held and asked for.
    Protect(PolicyId),
    /// Go on with the rule of this index of the same list, which is always a later one (an IOS
    /// deny: behind the entry).
    Jump(u32),
    /// Dropped: protected, but this side may not initiate.
    Drop,
}

/// One rule, written for the outbound direction; an inbound check exchanges source and destination.
/// Source and destination are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Source addresses.
    pub source: Prefix,
    /// Destination addresses.
    pub destination: Prefix,
    /// IP protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source ports.
    pub source_ports: PortRange,
    /// Destination ports.
    pub destination_ports: PortRange,
    /// What happens on a match.
    pub action: Action,
}

/// One list that protects what any of `lists` protects: what ends or jumps behind one list goes on
/// with the next one. The first list that protects a packet decides how.
#[must_use]
pub fn union<'a>(lists: impl IntoIterator<Item = &'a [Rule]>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for list in lists {
        let first = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.extend(list.iter().map(|rule| match rule.action {
            Action::Jump(target) => Rule { action: Action::Jump(target.saturating_add(first)), ..*rule },
            _ => *rule,
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_of_one_list_leads_on_to_the_next() {
        let any = Prefix { address: [0, 0, 0, 0].into(), length: 0 };
        let rule = |action| Rule {
            source: any,
            destination: any,
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action,
        };
        let exempting = [rule(Action::Jump(2)), rule(Action::Drop)];
        let all = union([&exempting[..], &exempting[..]]);
        let actions: Vec<Action> = all.iter().map(|rule| rule.action).collect();
        assert_eq!(actions, [Action::Jump(2), Action::Drop, Action::Jump(4), Action::Drop]);
    }
}
