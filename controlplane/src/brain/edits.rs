//! Sessions in configuration mode: while one is open, protection is the union of what it began with and what is
//! configured now (`compile::retained`).

use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use config::shell::Baselines;

use super::Brain;
use crate::compile::{Devices, Plan, compile_with, retain};
use crate::log::Message;

/// A session of the control socket, by its number.
pub type SessionNumber = u64;

/// What `show crypto map` and the next session say about a session that was cut off.
const CUT_OFF: &str = "a session ended inside configuration mode while protected flows were being replaced; what was \
                       protected before stays protected too until a session leaves configuration mode in order: type \
                       \"configure terminal\", complete the lines, then \"end\"";

/// What a session found when it entered configuration mode.
#[derive(Debug)]
pub(super) struct Baseline {
    /// None once its connection is gone.
    session: Option<SessionNumber>,
    configuration: Arc<Configuration>,
    devices: Devices,
    /// Whether something is protected on its account only.
    adds: bool,
}

impl Baseline {
    /// Its devices as they are now; as they were, where the configuration does not name them any more.
    fn devices(&self, configuration: &Configuration, devices: &Devices) -> Devices {
        let mut known = self.devices.clone();
        for (name, interface) in &self.configuration.interfaces {
            let now = configuration.interfaces.get(name);
            if now.is_none_or(|now| now.device_name(name) != interface.device_name(name)) {
                continue;
            }
            match devices.get(name) {
                Some(device) => drop(known.insert(name.clone(), device.clone())),
                None => drop(known.remove(name)),
            }
        }
        known
    }
}

impl Brain {
    /// A session enters configuration mode; `before` is the running configuration. Gives a note to print.
    pub fn begin_edit(&mut self, session: SessionNumber, before: Arc<Configuration>) -> Option<String> {
        let devices = self.devices.clone();
        self.baselines.push(Baseline { session: Some(session), configuration: before, devices, adds: false });
        self.has_cut_edits().then(|| format!("%NOTE: {CUT_OFF}"))
    }

    /// A session has left configuration mode in order: from now on the configuration says what is protected, as far as
    /// no other session is in configuration mode.
    pub fn end_edit(&mut self, now: Duration, session: SessionNumber) {
        let ends = |baseline: &Baseline| baseline.session.is_none_or(|other| other == session);
        let adds = self.baselines.iter().any(|baseline| ends(baseline) && baseline.adds);
        self.baselines.retain(|baseline| !ends(baseline));
        if adds {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    /// The connection of a session has ended. If it was in configuration mode and what it began with protects more than
    /// what it left behind, that stays in force.
    pub fn abandon_edit(&mut self, session: SessionNumber) {
        let Some(place) = self.baselines.iter().position(|baseline| baseline.session == Some(session)) else {
            return;
        };
        if self.baselines[place].adds {
            self.baselines[place].session = None;
            self.say(Message::Trouble(CUT_OFF.to_owned()));
        } else {
            self.baselines.remove(place);
        }
    }

    /// Whether something is protected on account of a session that was cut off.
    pub fn has_cut_edits(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.session.is_none())
    }

    /// Whether something is protected that the running configuration does not name.
    pub fn protects_more(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.adds)
    }

    /// What sessions other than this one began with.
    pub fn other_baselines(&self, session: SessionNumber) -> Baselines {
        let mut baselines = Baselines::default();
        for baseline in self.baselines.iter().filter(|baseline| baseline.session != Some(session)) {
            match baseline.session {
                Some(_) => baselines.open.push(baseline.configuration.clone()),
                None => baselines.cut.push(baseline.configuration.clone()),
            }
        }
        baselines
    }

    /// The line of `show crypto map`; empty when there is nothing to say.
    pub(super) fn edits_line(&self) -> String {
        if self.has_cut_edits() { format!("NOTE: {CUT_OFF}\n") } else { String::new() }
    }

    /// Compiles the configuration with what is derived from it, and with what open sessions began with.
    pub(super) fn compile(&mut self, configuration: &Configuration, devices: &Devices) -> Plan {
        let mut plan = compile_with(configuration, devices, &self.derived, &mut self.table);
        // The oldest stands in front in the end.
        for baseline in self.baselines.iter_mut().rev() {
            baseline.adds = *baseline.configuration != *configuration && {
                let devices = baseline.devices(configuration, devices);
                let old = compile_with(&baseline.configuration, &devices, &self.derived, &mut self.table);
                retain(&mut plan, &old)
            };
        }
        plan
    }
}
