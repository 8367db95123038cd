//! What is done to gateways from outside.

use config::Configuration;
use config::command::ClearCommand;

use super::{Network, SimulationError};
use crate::gateway::Condition;

impl Network {
    /// Another configuration.
    pub fn configure(&mut self, index: usize, configuration: Configuration) {
        self.gateways[index].configure(self.now, Some(configuration));
        self.events(index);
    }

    /// A session enters configuration mode and removes every access list.
    pub fn remove_lists(&mut self, index: usize) {
        self.gateways[index].remove_lists(self.now);
        self.events(index);
    }

    /// The session types them again and leaves; nothing where none is open.
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

    /// Kills the control plane and starts it again, with its memory or without.
    ///
    /// # Errors
    /// If the segments cannot be attached to.
    pub fn restart_control_plane(&mut self, index: usize, keep: bool) -> Result<(), SimulationError> {
        self.gateways[index].restart_control_plane(self.now, keep)?;
        self.follow_up(index);
        Ok(())
    }

    /// Kills the data plane and starts it again.
    ///
    /// # Errors
    /// If the segments cannot be attached to.
    pub fn restart_data_plane(&mut self, index: usize) -> Result<(), SimulationError> {
        self.gateways[index].restart_data_plane()?;
        self.tick(index);
        Ok(())
    }

    /// Power off and on.
    ///
    /// # Errors
    /// If new segments cannot be made.
    pub fn reboot(&mut self, index: usize) -> Result<(), SimulationError> {
        self.gateways[index].reboot(self.now)?;
        self.follow_up(index);
        Ok(())
    }

    /// Stops a control plane, or its whole machine, until [`Network::wake`].
    pub fn stop(&mut self, index: usize, condition: Condition) {
        self.gateways[index].condition = condition;
    }

    /// Ends what [`Network::stop`] began. A machine that slept for `slept` milliseconds has a clock
    /// that stood still so long.
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
