//! The required capacities of the shared segments, from the sizes of a configuration.

use config::sizes::Sizes;
use sa_table::Demand;

/// The capacities for a configuration, including room for derived entries.
#[must_use]
pub fn demand(sizes: &Sizes) -> Demand {
    let policies = sizes.permits.saturating_add(sizes.derived);
    Demand {
        ports: sizes.interfaces,
        rule_lists: sizes.lists.len() as u64,
        rules: sizes.rules().saturating_add(sizes.derived),
        filter_lists: sizes.filters.lists,
        filter_lines: sizes.filters.lines,
        filter_bindings: sizes.filters.bindings(policies),
        policies,
        tunnels: sizes.tunnels.saturating_add(sizes.derived),
    }
}

#[cfg(test)]
mod tests {
    use config::sizes::FilterSizes;

    use super::*;

    #[test]
    fn what_comes_by_itself_has_room() {
        let made = demand(&Sizes { permits: 1, derived: 4096, ..Sizes::default() });
        assert_eq!((made.policies, made.rules, made.tunnels), (4097, 4096, 4096));
    }

    #[test]
    fn each_policy_may_have_a_filter_in_each_direction_that_an_entry_has_one_in() {
        let filters = FilterSizes { lists: 2, lines: 9, of_interfaces: 1, of_policies: 2 };
        let made = demand(&Sizes { permits: 3, filters, ..Sizes::default() });
        assert_eq!((made.filter_lists, made.filter_lines, made.filter_bindings), (2, 9, 1 + 2 * 3));
    }
}
