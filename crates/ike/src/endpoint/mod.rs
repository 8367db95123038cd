//! The endpoint: all IKE SAs of a gateway, found by SPI; the entry points of the crate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{Action, IkeId, IkeInfo, Transmit};
use crate::command::Command;
use crate::config::{ChildTag, Connection, ConnectionId, EndpointConfig, SpiSource};
use crate::random::{Random, draw_u64};
use crate::time::Time;

/// All IKE SAs of a gateway.
pub struct Endpoint {
    config: EndpointConfig,
    random: Box<dyn Random>,
    spis: Box<dyn SpiSource>,
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    transmits: VecDeque<Transmit>,
    actions: VecDeque<Action>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint without connections. `spis` gives out inbound ESP SPIs; [`RandomSpis`] will do where nobody else uses any.
    pub fn new(config: EndpointConfig, random: Box<dyn Random>, spis: Box<dyn SpiSource>) -> Self {
        Endpoint {
            config,
            random,
            spis,
            connections: BTreeMap::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Adds a connection or replaces the one of the same id. Existing IKE SAs go on under the old settings until they are
    /// rekeyed; a new child takes the new ones.
    pub fn set_connection(&mut self, connection: Connection) {
        self.connections.insert(connection.id, Arc::new(connection));
    }

    /// Removes a connection; its IKE SAs are deleted, the peers told.
    pub fn remove_connection(&mut self, _now: Time, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// Takes in one UDP payload as it was received on one of the IKE ports (`to` is our address and port).
    pub fn handle_datagram(&mut self, _now: Time, _from: SocketAddr, _to: SocketAddr, _bytes: &[u8]) {}

    /// Does what is due. To be called at [`Endpoint::poll_timeout`]; calling it earlier or later does no harm.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// Carries out an order. Returns the name of the IKE SA for [`Command::Initiate`], `None` for all others.
    ///
    /// # Errors
    /// If an initiation or a child names an unknown connection or policy, or the endpoint is full.
    pub fn command(&mut self, _now: Time, _command: Command) -> Result<Option<IkeId>, CommandError> {
        Ok(None)
    }

    /// The next datagram to send, oldest first. To be drained after each call of the three functions above.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next action, oldest first. To be drained after each call of the three functions above.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] wants to be called next. Changes with every other call.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// What there is to know about one IKE SA, also while it is being negotiated.
    pub fn ike_sa(&self, _ike: IkeId) -> Option<IkeInfo> {
        None
    }

    /// All IKE SAs in the order of their creation.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeInfo> + '_ {
        std::iter::empty()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Why an order was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection was not set.
    #[error("connection {0:?} is unknown: set it before initiating")]
    UnknownConnection(ConnectionId),
    /// The connection has no such child policy.
    #[error("connection {0:?} has no child policy {1:?}")]
    UnknownChild(ConnectionId, ChildTag),
    /// No proposal is left after leaving out what the cryptographic backend lacks.
    #[error(
        "connection {0:?} has no usable IKE or ESP proposal: configure algorithms that this build supports"
    )]
    NoProposal(ConnectionId),
    /// The limit [`EndpointConfig::max_ike_sas`] is reached.
    #[error("no room for another IKE SA (limit {0})")]
    TooManyIkeSas(usize),
    /// No SPI for the child.
    #[error("no SPI is free for another child SA")]
    NoSpi,
}

/// Counters of what peers sent and what became of it. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed in.
    pub datagrams: u64,
    /// Too short, or not IKEv2, or lengths that contradict each other.
    pub malformed: u64,
    /// An SPI pair that no IKE SA has.
    pub unknown_spi: u64,
    /// Integrity check failed, or not decryptable.
    pub not_authentic: u64,
    /// Message ID outside the window, or an exchange that does not fit the state.
    pub out_of_window: u64,
    /// Requests answered again from the stored response.
    pub replayed_requests: u64,
    /// Our requests sent again.
    pub retransmissions: u64,
    /// IKE_SA_INIT requests answered by a cookie.
    pub cookies_sent: u64,
    /// IKE_SA_INIT requests ignored because a half-open limit was reached.
    pub half_open_refused: u64,
    /// IKE_SA_INIT requests from addresses that no connection has.
    pub no_connection: u64,
    /// Half-open IKE SAs dropped because the peer did not go on in time.
    pub half_open_expired: u64,
    /// IKE_AUTH exchanges that failed to authenticate the peer.
    pub authentication_failed: u64,
}

/// The SPI source of an endpoint that has the ESP SPI space for itself: random, never two alike.
#[derive(Debug, Default)]
pub struct RandomSpis(BTreeSet<u32>);

impl SpiSource for RandomSpis {
    fn allocate(&mut self, random: &mut dyn Random) -> Option<u32> {
        // 2^32 numbers against at most some ten thousand in use: a few draws are enough.
        (0..64).map(|_| draw_u64(random) as u32).find(|&spi| spi >= 256 && self.0.insert(spi))
    }

    fn release(&mut self, spi: u32) {
        self.0.remove(&spi);
    }
}
