//! Changing the endpoint's settings at run time.

use crate::config::EndpointConfig;

use super::Endpoint;

impl Endpoint {
    /// The current settings.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Replaces the settings. Limits, cookies and the interval of NAT keepalives take effect at
    /// once, the fragment size for new IKE SAs. Backend, ports and checkpoints cannot change: other
    /// values are ignored.
    pub fn set_config(&mut self, config: EndpointConfig) {
        let EndpointConfig { ike_port, natt_port, checkpoint, provider, .. } = self.config;
        self.config = EndpointConfig { ike_port, natt_port, checkpoint, provider, ..config };
    }
}
