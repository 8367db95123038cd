//! Sessions of the control socket that enter and leave configuration mode.

use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use config::shell::Baselines;

use super::{Gateway, SessionNumber};

impl Gateway {
    /// A session enters configuration mode; `before` is the running configuration. Gives a note to
    /// print.
    pub fn begin_edit(&mut self, session: SessionNumber, before: Arc<Configuration>) -> Option<String> {
        self.edits.begin(session, before, self.devices.clone())
    }

    /// A session has left configuration mode in order: from now on the configuration says what is
    /// protected, as far as no other session is in configuration mode.
    pub fn end_edit(&mut self, now: Duration, session: SessionNumber) {
        if self.edits.end(session) {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    /// The connection of a session has ended. If it was in configuration mode and what it began
    /// with protects more than what it left behind, that stays in force.
    pub fn abandon_edit(&mut self, session: SessionNumber) {
        if let Some(reason) = self.edits.abandon(session) {
            self.report.trouble(reason);
        }
    }

    /// Whether something is protected on account of a session that was cut off.
    pub fn has_cut_edits(&self) -> bool {
        self.edits.has_cut()
    }

    /// Whether something is protected that the running configuration does not name.
    pub fn protects_more(&self) -> bool {
        self.edits.protects_more()
    }

    /// What sessions other than this one began with.
    pub fn other_baselines(&self, session: SessionNumber) -> Baselines {
        self.edits.others(session)
    }
}
