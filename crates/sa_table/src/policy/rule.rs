//! A rule of a crypto-map set: its conditions and action; rules are compared in order, first match
//! decides.

use crate::ids::PolicyId;
use ipsec_types::{PortRange, Prefix};

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Protected by the SA that the policy word names; without SA the packet is held and an SA is
    /// requested.
    Protect(PolicyId),
    /// Continue with the rule of this index in the same list, always a later one (an IOS deny: the
    /// first rule after the crypto-map entry).
    Jump(u32),
    /// Dropped: the packet is protected, but this side may not initiate.
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
    /// The action on a match.
    pub action: Action,
}

/// One list that protects what any of `lists` protects: a packet that reaches the end of one list
/// continues with the next one. The first list that protects a packet decides how.
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
