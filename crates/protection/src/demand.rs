//! What the shared segments must have room for, from the sizes of a configuration.

use config::sizes::Sizes;
use sa_table::Demand;

/// The demand of a configuration, with room for the flows that come by themselves.
#[must_use]
pub fn demand(sizes: &Sizes) -> Demand {
    Demand {
        ports: sizes.interfaces,
        rule_lists: sizes.lists.len() as u64,
        rules: sizes.rules().saturating_add(sizes.derived),
        policies: sizes.permits.saturating_add(sizes.derived),
        tunnels: sizes.tunnels.saturating_add(sizes.derived),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_by_itself_has_room() {
        let made = demand(&Sizes { permits: 1, derived: 4096, ..Sizes::default() });
        assert_eq!((made.policies, made.rules, made.tunnels), (4097, 4096, 4096));
    }
}
