//! Rules that a former guard loaded, kept beside a policy that must not open any of them.

use std::collections::BTreeMap;

use ebpf_abi::{GuardRule, MAX_RULES_PER_PORT, PORT_COARSE};

use super::policy::{HALF, KernelPolicy};

/// The rules of all crypto maps of the policy in force, as applied to devices without an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingRules {
    /// Jumps count from the first rule.
    pub(super) rules: Vec<GuardRule>,
    /// Only address prefixes are known, not rules.
    pub(super) is_coarse: bool,
}

impl KernelPolicy {
    /// Applies `standing` to every device, after its own list, so that no deny of one list exempts
    /// what the other protects.
    pub fn retain(&mut self, standing: &StandingRules) {
        let mut places = BTreeMap::new();
        let mut entries = std::mem::take(&mut self.ports);
        for entry in entries.values_mut() {
            let own = (entry.rule_first, entry.rule_count);
            let place = *places.entry(own).or_insert_with(|| self.place_behind(own, &standing.rules));
            match place {
                Some((first, count)) => (entry.rule_first, entry.rule_count) = (first, count),
                None => entry.flags |= PORT_COARSE,
            }
            if standing.is_coarse {
                entry.flags |= PORT_COARSE;
            }
        }
        self.ports = entries;
    }

    /// Writes the list of `own` again, followed by `standing`; `None` when there is no room.
    fn place_behind(&mut self, own: (u32, u32), standing: &[GuardRule]) -> Option<(u32, u32)> {
        let (first, count) = own;
        let at = u32::try_from(self.rules.len()).ok()?;
        let whole = u32::try_from(standing.len()).ok()?.checked_add(count)?;
        if whole > MAX_RULES_PER_PORT || at + whole > HALF {
            return None;
        }
        let list = self.rules.get(first as usize..(first + count) as usize)?.to_vec();
        self.rules.extend(list.iter().map(|rule| moved(rule, first, at)));
        self.rules.extend(standing.iter().map(|rule| moved(rule, 0, at + count)));
        Some((at, whole))
    }
}

/// The rule with jump targets adjusted for a list that begins at `to` instead of `from`.
pub(super) fn moved(rule: &GuardRule, from: u32, to: u32) -> GuardRule {
    let jump = if rule.exempts == 0 { rule.jump } else { rule.jump.saturating_sub(from) + to };
    GuardRule { jump, ..*rule }
}

#[cfg(test)]
mod tests {
    use ebpf_abi::{NO, PortConfig, YES};

    use super::*;

    fn protects(protocol: u32) -> GuardRule {
        GuardRule { protocol, exempts: NO, ..GuardRule::default() }
    }

    fn exempts(jump: u32) -> GuardRule {
        GuardRule { exempts: YES, jump, ..GuardRule::default() }
    }

    fn policy(rules: Vec<GuardRule>, first: u32, count: u32) -> KernelPolicy {
        let entry = PortConfig { rule_first: first, rule_count: count, ..PortConfig::default() };
        let mut policy = KernelPolicy::default();
        policy.rules = rules;
        policy.ports = BTreeMap::from([(0, entry), (7, entry)]);
        policy
    }

    #[test]
    fn what_stands_is_compared_behind_the_own_list_and_no_exemption_passes_over_it() {
        let mut policy = policy(vec![protects(1), exempts(3), protects(6)], 1, 2);
        policy.retain(&StandingRules { rules: vec![exempts(2), protects(17)], is_coarse: false });
        let entry = policy.ports[&7];
        assert_eq!((entry.rule_first, entry.rule_count, entry.flags), (3, 4, 0));
        assert_eq!(policy.ports[&0], entry, "one list for both");
        // The deny of the own list, which jumped to its end, continues with the first kept rule.
        assert_eq!(policy.rules[3..], [exempts(5), protects(6), exempts(7), protects(17)]);
    }

    #[test]
    fn without_room_prefixes_close() {
        let half = usize::try_from(HALF).unwrap();
        let mut full = policy(vec![protects(1); half], 0, HALF);
        full.retain(&StandingRules { rules: vec![protects(17)], is_coarse: false });
        assert_eq!(full.ports[&7].flags, PORT_COARSE);
        let mut coarse = policy(vec![protects(1)], 0, 1);
        coarse.retain(&StandingRules { rules: Vec::new(), is_coarse: true });
        assert_eq!(coarse.ports[&0].flags, PORT_COARSE);
    }
}
