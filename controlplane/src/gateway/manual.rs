//! `ipsec-manual` entries: their pairs are in the table as configured, without sessions, detection
//! or failover.

use std::time::Duration;

use sa_table::PolicyId;

use super::Gateway;
use crate::connections::manual_suite;
use crate::plan::ManualEntry;
use crate::tables::{InstallError, ManualRequest, PairParameters};

impl Gateway {
    /// Makes the hand-keyed pairs match the plan. Called after the rules are published.
    pub(super) fn configure_manual(&mut self, now: Duration) {
        let now_ms = self.scale.stamp(now);
        let wanted: Vec<PolicyId> = self.plan.manual.values().map(|entry| entry.policy).collect();
        // Remove old pairs first: a new one may use the same SPI.
        for policy in self.tables.manual_policies() {
            if !wanted.contains(&policy) {
                self.tables.remove_manual(policy, now_ms);
            }
        }
        for entry in self.plan.manual.values().cloned().collect::<Vec<_>>() {
            if let Err(reason) = self.install_manual(&entry, now_ms) {
                self.tables.remove_manual(entry.policy, now_ms);
                self.report.note(format!("{}: {reason}", entry.key));
            }
        }
    }

    fn install_manual(&mut self, entry: &ManualEntry, now_ms: u64) -> Result<bool, InstallError> {
        let permit = self.plan.policies.get(&entry.policy).ok_or(InstallError::Selectors)?;
        let (suite, mode) = manual_suite(entry, permit).ok_or(InstallError::Algorithm)?;
        let request = ManualRequest {
            permit,
            parameters: &entry.parameters,
            suite,
            mode,
            local: entry.local,
            pair: PairParameters::new(&entry.parameters.ipsec, entry.policy, entry.mtu),
        };
        self.tables.set_manual(&request, now_ms)
    }

    /// Replaces a hand-keyed SA whose 32-bit sequence numbers are used up: without anti-replay the
    /// receiver ignores them (RFC 4303 §3.3.3), and the new slot derives its IVs from a new random
    /// key.
    pub(super) fn scan_manual(&mut self, now: Duration) {
        let now_ms = self.scale.stamp(now);
        for entry in self.plan.manual.values().cloned().collect::<Vec<_>>() {
            let used_up =
                self.tables.manual_activity(entry.policy).is_some_and(|activity| activity.hard_limit);
            if used_up {
                self.tables.remove_manual(entry.policy, now_ms);
                if let Err(reason) = self.install_manual(&entry, now_ms) {
                    self.report.note(format!("{}: {reason}", entry.key));
                }
            }
        }
    }
}
