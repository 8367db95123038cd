//! Sessions in configuration mode. While one is open, the configuration at its start and the
//! current one are both protected (`compile::retained`).

use std::sync::Arc;

use config::Configuration;
use config::shell::Baselines;

use crate::compile::{PolicyNumbers, compile_with, retain};
use crate::plan::{Derived, Devices, Plan};

/// ID of a session of the control socket.
pub type SessionNumber = u64;

/// Shown by `show crypto map` and to the next session after a session was disconnected in
/// configuration mode.
const CUT_OFF: &str = "a session ended inside configuration mode while protected flows were being replaced; what was \
                       protected before stays protected too until a session leaves configuration mode in order: type \
                       \"configure terminal\", complete the lines, then \"end\"";

/// The state at the time a session entered configuration mode.
#[derive(Debug)]
struct Baseline {
    /// `None` once the session has disconnected.
    session: Option<SessionNumber>,
    configuration: Arc<Configuration>,
    devices: Devices,
    /// Whether it protects traffic that nothing else protects.
    adds: bool,
}

impl Baseline {
    /// The current devices, with the old ones of interfaces that are no longer configured.
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

/// The sessions in configuration mode and those that disconnected there.
#[derive(Debug, Default)]
pub struct Edits {
    /// Oldest first.
    baselines: Vec<Baseline>,
}

impl Edits {
    /// A session enters configuration mode. `before` is the running configuration, `devices` are
    /// those that it was compiled with. Returns a note to print.
    pub fn begin(
        &mut self,
        session: SessionNumber,
        before: Arc<Configuration>,
        devices: Devices,
    ) -> Option<String> {
        self.baselines.push(Baseline { session: Some(session), configuration: before, devices, adds: false });
        self.has_cut().then(|| format!("%NOTE: {CUT_OFF}"))
    }

    /// A session has left configuration mode normally: the running configuration decides what is
    /// protected, unless another session is still in configuration mode. Returns true if less is
    /// protected than before.
    pub fn end(&mut self, session: SessionNumber) -> bool {
        let ends = |baseline: &Baseline| baseline.session.is_none_or(|other| other == session);
        let adds = self.baselines.iter().any(|baseline| ends(baseline) && baseline.adds);
        self.baselines.retain(|baseline| !ends(baseline));
        adds
    }

    /// A session has disconnected. If it was in configuration mode and its baseline protects more
    /// than the running configuration, the baseline stays in force; the reason is returned then.
    pub fn abandon(&mut self, session: SessionNumber) -> Option<&'static str> {
        let place = self.baselines.iter().position(|baseline| baseline.session == Some(session))?;
        if !self.baselines[place].adds {
            self.baselines.remove(place);
            return None;
        }
        self.baselines[place].session = None;
        Some(CUT_OFF)
    }

    /// Whether the baseline of a disconnected session protects additional traffic.
    pub fn has_cut(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.session.is_none())
    }

    /// Whether traffic is protected that the running configuration does not select.
    pub fn protects_more(&self) -> bool {
        self.baselines.iter().any(|baseline| baseline.adds)
    }

    /// The baselines of all other sessions.
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

    /// The line of `show crypto map`; empty if there is none.
    pub fn line(&self) -> String {
        if self.has_cut() { format!("NOTE: {CUT_OFF}\n") } else { String::new() }
    }

    /// Compiles the configuration with the derived entries and the baselines of open sessions.
    pub fn compile(
        &mut self,
        configuration: &Configuration,
        devices: &Devices,
        derived: &Derived,
        numbers: &mut impl PolicyNumbers,
    ) -> Plan {
        let mut plan = compile_with(configuration, devices, derived, numbers);
        // Applied from newest to oldest, so that the rules of the oldest baseline come first.
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
