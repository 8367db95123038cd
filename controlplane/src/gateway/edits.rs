//! Sessions entering and leaving configuration mode.

use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use config::shell::Baselines;

use super::{Gateway, SessionNumber};

impl Gateway {
    /// A session enters configuration mode; `before` is the running configuration. Returns a note
    /// to print.
    pub fn begin_edit(&mut self, session: SessionNumber, before: Arc<Configuration>) -> Option<String> {
        self.edits.begin(session, before, self.devices.clone())
    }

    /// A session has left configuration mode normally: the running configuration decides what is
    /// protected, unless another session is still in configuration mode.
    pub fn end_edit(&mut self, now: Duration, session: SessionNumber) {
        if self.edits.end(session) {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    /// A session has disconnected. If it was in configuration mode and its baseline protects more
    /// than the running configuration, the baseline stays in force.
    pub fn abandon_edit(&mut self, session: SessionNumber) {
        if let Some(reason) = self.edits.abandon(session) {
            self.report.trouble(reason);
        }
    }

    /// Whether the baseline of a disconnected session protects additional traffic.
    pub fn has_cut_edits(&self) -> bool {
        self.edits.has_cut()
    }

    /// Whether traffic is protected that the running configuration does not select.
    pub fn protects_more(&self) -> bool {
        self.edits.protects_more()
    }

    /// The baselines of all other sessions.
    pub fn other_baselines(&self, session: SessionNumber) -> Baselines {
        self.edits.others(session)
    }
}
