//! `ipsec-manual` entries: their pairs stand in the table as the configuration says, without
//! sessions, detection or fail-over.

use std::time::Duration;

use sa_table::PolicyId;

use super::Gateway;
use crate::connections::manual_suite;
use crate::plan::ManualEntry;
use crate::tables::{InstallError, ManualRequest, PairParameters};

impl Gateway {
    /// Makes the hand-keyed pairs those of the plan. Called when the rules are published.
    pub(super) fn configure_manual(&mut self, now: Duration) {
        let now_ms = self.scale.stamp(now);
        let wanted: Vec<PolicyId> = self.plan.manual.values().map(|entry| entry.policy).collect();
        // What goes first may have the SPI of what comes.
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

    /// The 32-bit sequence numbers of a hand-keyed SA begin anew when they are used up: without
    /// anti-replay the receiver does not look at them (RFC 4303 section 3.3.3), and the IVs of the
    /// new slot come from another random key.
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
