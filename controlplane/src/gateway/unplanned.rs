//! Edits that do not change the plan are applied without compiling and publishing.

use std::time::Duration;

use config::Configuration;
use config::diff::{Change, Object};
use config::model::{AccessGroups, CryptoMapEntry, Keying};

use super::Gateway;

impl Gateway {
    /// Makes `candidate`, which differs from the running configuration in `changes`, the running
    /// one if it compiles to the same plan. Otherwise returns false and changes nothing.
    pub fn configure_unplanned(
        &mut self,
        now: Duration,
        candidate: &Configuration,
        changes: &[Change],
    ) -> bool {
        let keeps = |change: &Change| keeps_plan(&self.configuration, candidate, change);
        if !changes.iter().all(keeps) {
            return false;
        }
        self.configuration = candidate.clone();
        self.look_up_fixed_names(now);
        true
    }
}

/// Whether a change has no effect on the plan. False if that is not obvious from the changed object
/// alone.
fn keeps_plan(running: &Configuration, candidate: &Configuration, change: &Change) -> bool {
    match &change.object {
        // Routes are only in the kernel.
        Object::Routes => true,
        Object::CryptoMapEntry { map, seq, .. } => {
            [running, candidate].into_iter().filter_map(|of| of.entry(map, *seq)).all(selects_nothing)
        }
        _ => false,
    }
}

/// An entry that is still incomplete and selects no packets yet.
fn selects_nothing(entry: &CryptoMapEntry) -> bool {
    let body = &entry.body;
    let is_template = matches!(entry.keying, Keying::Dynamic { .. });
    body.match_address.is_none() && body.access_groups == AccessGroups::default() && !is_template
}

#[cfg(test)]
mod tests {
    use config::diff::diff;
    use config::edit::Offline;

    use super::*;

    fn configuration(lines: &str) -> Configuration {
        let text = format!(
            "access-list 101 permit ip any any\ncrypto map m 1 ipsec-isakmp\n set peer 10.1.1.1\n match address 101\n{lines}"
        );
        config::file::parse("test", &text, &mut Offline).unwrap().configuration
    }

    #[test]
    fn only_entries_that_select_nothing_and_routes_keep_the_plan() {
        let running = configuration("");
        let keeps = |lines: &str| {
            let candidate = configuration(lines);
            let changes = diff(&running, &candidate);
            assert!(!changes.is_empty(), "{lines}");
            changes.iter().all(|change| keeps_plan(&running, &candidate, change))
        };
        assert!(keeps("crypto map m 2 ipsec-isakmp\n set peer 10.1.1.2\n"));
        assert!(keeps("ip route 10.2.0.0 255.255.0.0 10.1.1.9\n"));
        for lines in [
            " set peer 10.1.1.3\n",
            "crypto map m 2 ipsec-isakmp\n match address 102\n",
            "crypto map m 2 ipsec-isakmp\n set ip access-group 101 in\n",
            "crypto map m 2 ipsec-isakmp dynamic d\n",
            "crypto map n 1 ipsec-isakmp\n",
            "access-list 102 permit ip any any\n",
            "hostname R2\n",
        ] {
            assert!(!keeps(lines), "{lines}");
        }
    }
}
