//! Sessions in configuration mode: while one is open, protection is the union of what it began with
//! and what is configured now (`compile::retained`).

use std::sync::Arc;

use config::Configuration;
use config::shell::Baselines;

use crate::compile::{PolicyNumbers, compile_with, retain};
use crate::plan::{Derived, Devices, Plan};

/// A session of the control socket, by its number.
pub type SessionNumber = u64;

/// What `show crypto map` and the next session say about a session that was cut off.
const CUT_OFF: &str = "a session ended inside configuration mode while protected flows were being replaced; what was \
                       protected before stays protected too until a session leaves configuration mode in order: type \
                       \"configure terminal\", complete the lines, then \"end\"";

/// What a session found when it entered configuration mode.
#[derive(Debug)]
struct Baseline {
    /// None once its connection is gone.
    session: Option<SessionNumber>,
    configuration: Arc<Configuration>,
    devices: Devices,
    /// Whether something is protected on its account only.
    adds: bool,
}

impl Baseline {
    /// Its devices as they are now; as they were, where the configuration does not name them any
    /// more.
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

/// The sessions in configuration mode and those that were cut off there.
#[derive(Debug, Default)]
pub struct Edits {
    /// Oldest first.
    baselines: Vec<Baseline>,
}

impl Edits {
    /// A session enters configuration mode; `before` is the running configuration, `devices` are
    /// those that it was compiled with. Gives a note to print.
    pub fn begin(
        &mut self,
        session: SessionNumber,
        before: Arc<Configuration>,
        devices: Devices,
    ) -> Option<String> {
        self.baselines.push(Baseline { session: Some(session), configuration: before, devices, adds: false });
        self.has_cut().then(|| format!("%NOTE: {CUT_OFF}"))
    }

    /// A session has left configuration mode in order: from now on the configuration says what is
    /// protected, as far as no other session is in configuration mode. True if that is less than
    /// what is protected now.
    pub fn end(&mut self, session: SessionNumber) -> bool {
        let ends = |baseline: &Baseline| baseline.session.is_none_or(|other| other == session);
        let adds = self.baselines.iter().any(|baseline| ends(baseline) && baseline.adds);
        self.baselines.retain(|baseline| !ends(baseline));
        adds
    }

    /// The connection of a session has ended. If it was in configuration mode and what it began
    /// with protects more than what it left behind, that stays in force; the reason is given then.
    pub fn abandon(&mut self, session: SessionNumber) -> Option<&'static str> {
        let place = self.baselines.iter().position(|baseline| baseline.session == Some(session))?;
        if !self.baselines[place].adds {
            self.baselines.remove(place);
            return None;
        }
        self.baselines[place].session = None;
        Some(CUT_OFF)
    }

    /// Whether something is protected on account of a session that was cut off.
    pub fn has_cut(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.session.is_none())
    }

    /// Whether something is protected that the running configuration does not name.
    pub fn protects_more(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.adds)
    }

    /// What sessions other than this one began with.
    pub fn others(&self, session: SessionNumber) -> Baselines {
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
    pub fn line(&self) -> String {
        if self.has_cut() { format!("NOTE: {CUT_OFF}\n") } else { String::new() }
    }

    /// Compiles the configuration with what is derived from it, and with what open sessions began
    /// with.
    pub fn compile(
        &mut self,
        configuration: &Configuration,
        devices: &Devices,
        derived: &Derived,
        numbers: &mut impl PolicyNumbers,
    ) -> Plan {
        let mut plan = compile_with(configuration, devices, derived, numbers);
        // The oldest stands in front in the end.
        for baseline in self.baselines.iter_mut().rev() {
            baseline.adds = *baseline.configuration != *configuration && {
                let devices = baseline.devices(configuration, devices);
                let old = compile_with(&baseline.configuration, &devices, derived, numbers);
                retain(&mut plan, &old)
            };
        }
        plan
    }
}
