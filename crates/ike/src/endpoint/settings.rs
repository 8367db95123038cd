//! Settings of the endpoint while it runs.

use crate::config::EndpointConfig;

use super::Endpoint;

impl Endpoint {
    /// The settings that hold now.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Takes other settings. Limits, cookies and the interval of NAT keepalives hold at once, the
    /// size of fragments for IKE SAs that begin from now on. Backend, ports and checkpoints are
    /// those of the start: other values are ignored.
    pub fn set_config(&mut self, config: EndpointConfig) {
        let EndpointConfig { ike_port, natt_port, checkpoint, provider, .. } = self.config;
        self.config = EndpointConfig { ike_port, natt_port, checkpoint, provider, ..config };
    }
}
