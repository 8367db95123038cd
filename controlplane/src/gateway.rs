//! The gateway: owns the parts of the control plane and routes events between them, without sockets
//! or a clock.
//!
//! Inputs are datagrams, reports of the data plane, the timer, the configuration and commands, each
//! with the current time. After each input the caller drains [`Gateway::poll_output`] and sets its
//! timer to [`Gateway::deadline`]. The shared segments are written directly, through [`Tables`]; a
//! simulation uses segments in ordinary memory.
//!
//! Actions of the IKE endpoint and reports of the data plane go to `tunnels`. The results go to the
//! sessions of `peers`, whose intents become commands to the endpoint and policy words in `tables`.
//! This repeats until no event is left.

mod actions;
mod adopted;
mod checkpoint;
mod children;
mod configure;
mod dead_peer;
mod dynamic;
mod edits;
mod events;
mod inspect;
mod intents;
mod manual;
mod names;
mod operator;
mod routes;
mod unplanned;
mod views;

pub use crate::edits::SessionNumber;
pub use configure::Admitted;
pub use inspect::Load;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use config::Configuration;
use ike::Endpoint;

use crate::checkpoint::{Memory, Schedule};
use crate::clock::{Scale, ike_time};
use crate::connections::Connections;
use crate::dynamic::Dynamic;
use crate::edits::Edits;
use crate::names::{NameError, Names};
use crate::peers::Peers;
use crate::pki::Pki;
use crate::plan::{Devices, EntryKey, Peer, Plan};
use crate::report::{History, Message, Report, Said};
use crate::routes::{RouteChange, RouteTable};
use crate::tables::Tables;
use crate::tunnels::Tunnels;

/// How often the time stamps and level states of the data plane are read.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Something that the service has to do.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(ike::Transmit),
    /// Add or remove a kernel route.
    Route(RouteChange),
    /// Resolve this name and call [`Gateway::resolved`] with the answer.
    Resolve(String),
    /// Write this to the log.
    Log(Message),
    /// Write this debug text of the IKE endpoint to the log.
    IkeLog(ike::LogRecord),
}

/// The gateway, see the module documentation.
pub struct Gateway {
    endpoint: Endpoint,
    /// Endpoint settings in effect without any configuration.
    built_in: ike::EndpointConfig,
    scale: Scale,
    configuration: Configuration,
    devices: Devices,
    pki: Pki,
    plan: Plan,
    edits: Edits,
    dynamic: Dynamic,
    connections: Connections,
    tunnels: Tunnels,
    peers: Peers,
    names: Names,
    tables: Tables,
    routes: RouteTable,
    report: Report,
    checkpoint: Schedule,
    next_scan: Duration,
    /// Failed initiations that [`Gateway::settle`] still has to report to their sessions.
    failed: VecDeque<(EntryKey, Peer)>,
    outputs: VecDeque<Output>,
}

impl Gateway {
    /// A gateway without configuration. `endpoint` provides the randomness, `tables` the segments,
    /// `memory` the previous control plane's checkpoint; it must be the one that `tables` was
    /// created with.
    pub fn new(endpoint: Endpoint, tables: Tables, scale: Scale, memory: Memory) -> Self {
        Gateway {
            built_in: endpoint.config().clone(),
            endpoint,
            scale,
            configuration: Configuration::default(),
            devices: Devices::new(),
            pki: Pki::default(),
            plan: Plan::default(),
            edits: Edits::default(),
            dynamic: Dynamic::default(),
            connections: Connections::default(),
            tunnels: Tunnels::default(),
            peers: Peers::default(),
            names: Names::default(),
            tables,
            routes: RouteTable::default(),
            report: Report::default(),
            checkpoint: Schedule::new(memory),
            next_scan: Duration::ZERO,
            failed: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Processes a datagram received on an IKE port; `to` is the local address and port.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.endpoint.handle_datagram(ike_time(now), from, to, bytes);
        self.settle(now);
    }

    /// Runs everything that is due. To be called at [`Gateway::deadline`]; an earlier call is
    /// harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        // Read the data plane's time stamps first: a peer whose packets have just arrived must not
        // be declared dead.
        self.scan(now);
        self.endpoint.handle_timeout(ike_time(now));
        self.settle(now);
        self.detect(now);
        for key in self.peers.due(now) {
            self.tell(now, &key, |session, intents| session.handle_timeout(now, intents));
        }
        for name in self.names.overdue(now) {
            self.resolved(now, &name, Err(NameError::Timeout));
        }
        self.tables.tick(self.scale.stamp(now));
        self.number_the_rest(now);
        self.dynamic.mark_lingering(now);
        self.settle(now);
    }

    /// The next time [`Gateway::handle_timeout`] has to be called.
    pub fn deadline(&self) -> Duration {
        let endpoint = self.endpoint.poll_timeout().map(crate::clock::from_ike_time);
        let parts = [
            self.peers.deadline(),
            self.tunnels.detection_deadline(),
            self.names.deadline(),
            self.checkpoint.at(),
        ];
        parts.into_iter().flatten().chain(endpoint).fold(self.next_scan, Duration::min)
    }

    /// The next output: log messages first, then everything else, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self.report.next_said() {
            Some(Said::Message(message)) => Some(Output::Log(message)),
            Some(Said::Ike(record)) => Some(Output::IkeLog(record)),
            None => self.outputs.pop_front(),
        }
    }

    /// The running configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The recorded transitions.
    pub fn history(&self) -> &History {
        self.report.history()
    }

    /// Writes a message to the log.
    pub fn say(&mut self, message: Message) {
        self.report.say(message);
    }

    /// Issues a command whose failure is only logged.
    fn order(&mut self, now: Duration, command: ike::Command) {
        if let Err(error) = self.endpoint.command(ike_time(now), command) {
            self.report.trouble(error);
        }
    }

    /// Processes events until none is left, then collects the endpoint's output.
    fn settle(&mut self, now: Duration) {
        loop {
            if let Some(action) = self.endpoint.poll_action() {
                self.handle_action(now, action);
            } else if let Some((entry, peer)) = self.failed.pop_front() {
                self.names.distrust(&peer);
                self.tell(now, &entry, |session, intents| session.initiation_failed(now, &peer, intents));
            } else if self.dynamic.take_sweep_due() {
                self.sweep(now);
            } else {
                break;
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.outputs.push_back(Output::Transmit(transmit));
        }
    }
}

#[cfg(test)]
mod tests;
