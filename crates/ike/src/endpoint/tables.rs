//! Sizes of an endpoint's tables.

use super::Endpoint;

/// Entries in the tables of an [`Endpoint`]: they must be 0 again when every IKE SA is gone, and
/// stay within the configured limits under a flood. For tests, simulations and measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// IKE SAs in every state, including closed ones that only repeat their last answer.
    pub ike_sas: usize,
    /// Half-open IKE SAs that peers began.
    pub half_open: usize,
    /// Sources that have a half-open IKE SA.
    pub sources: usize,
    /// IKE SPIs in use.
    pub ike_spis: usize,
    /// Child SAs, without those that are only being deleted.
    pub children: usize,
    /// Established IKE SAs in the indices by peer and by connection: their keys.
    pub peers: usize,
    /// Timers.
    pub deadlines: usize,
    /// Datagrams and actions that the caller has not taken yet.
    pub waiting: usize,
}

impl Endpoint {
    /// Counts the entries of all tables.
    pub fn tables(&self) -> Tables {
        let (half_open, sources) = self.half_open.sizes();
        Tables {
            ike_sas: self.sas.len(),
            half_open,
            sources,
            ike_spis: self.by_spi.len(),
            children: self.child_home.len(),
            peers: self.by_peer.len() + self.established.len(),
            deadlines: self.deadlines.len(),
            waiting: self.transmits.len() + self.actions.len(),
        }
    }
}
