//! Operations on gateways from outside: configuration, restarts, suspension.

use config::Configuration;
use config::command::ClearCommand;

use super::{Network, SimulationError};
use crate::gateway::Condition;

impl Network {
    /// Applies another configuration.
    pub fn configure(&mut self, index: usize, configuration: Configuration) {
        self.gateways[index].configure(self.now, Some(configuration));
        self.events(index);
    }

    /// A session enters configuration mode and removes every access list.
    pub fn remove_lists(&mut self, index: usize) {
        self.gateways[index].remove_lists(self.now);
        self.events(index);
    }

    /// The session enters the lists again and leaves; no effect without an open session.
    pub fn retype_lists(&mut self, index: usize) {
        if self.gateways[index].retype_lists(self.now) {
            self.events(index);
        }
    }

    /// `clear crypto …`.
    pub fn clear(&mut self, index: usize, command: &ClearCommand) {
        let gateway = &mut self.gateways[index];
        let clock = gateway.clock(self.now);
        gateway.control.clear(clock, command);
        self.follow_up(index);
    }

    /// Kills and restarts the control plane, with its checkpoint or without.
    ///
    /// # Errors
    /// If the segments cannot be attached.
    pub fn restart_control_plane(&mut self, index: usize, keep: bool) -> Result<(), SimulationError> {
        self.gateways[index].restart_control_plane(self.now, keep)?;
        self.follow_up(index);
        Ok(())
    }

    /// Kills and restarts the data plane.
    ///
    /// # Errors
    /// If the segments cannot be attached.
    pub fn restart_data_plane(&mut self, index: usize) -> Result<(), SimulationError> {
        self.gateways[index].restart_data_plane()?;
        self.tick(index);
        Ok(())
    }

    /// Power cycle.
    ///
    /// # Errors
    /// If new segments cannot be created.
    pub fn reboot(&mut self, index: usize) -> Result<(), SimulationError> {
        self.gateways[index].reboot(self.now)?;
        self.follow_up(index);
        Ok(())
    }

    /// Stops a control plane, or its whole system, until [`Network::wake`].
    pub fn stop(&mut self, index: usize, condition: Condition) {
        self.gateways[index].condition = condition;
    }

    /// Reverses [`Network::stop`]. The clock of a system that was suspended for `slept`
    /// milliseconds is behind by that time.
    pub fn wake(&mut self, index: usize, slept: u64) {
        let gateway = &mut self.gateways[index];
        gateway.condition = Condition::Running;
        gateway.lag += slept;
        let clock = gateway.clock(self.now);
        for (from, to, bytes) in std::mem::take(&mut gateway.backlog) {
            self.gateways[index].control.handle_datagram(clock, from, to, &bytes);
        }
        self.timeout(index);
    }
}
