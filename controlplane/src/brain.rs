//! The brain: sessions, IKE, detection and the table, joined without a socket and without a clock.
//!
//! Inputs are datagrams, what the data plane saw, the timer, configuration and commands, each with the time. After each
//! input the caller drains [`Brain::poll_output`] and sets its timer to [`Brain::deadline`]. The shared segments are
//! written directly, through [`Installer`]: they are memory, in a simulation as in service.
//!
//! Inside, one thing leads to the next until nothing is left to do: actions of the IKE endpoint become events of
//! sessions, whose intents become commands to the endpoint and words in the table.

mod actions;
mod books;
mod configure;
mod derived;
mod edits;
mod events;
mod inspect;
mod intents;
mod manual;
mod names;
mod operator;
mod orphans;
mod timers;
mod unplanned;
mod views;

pub use edits::SessionNumber;
pub use inspect::Load;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use ike::{ChildId, ConnectionId, Endpoint, IkeId};
use sa_table::PolicyId;

use crate::clock::{Scale, ike_time};
use crate::compile::{Devices, EntryKey, Plan};
use crate::derived::Derived;
use crate::install::Installer;
use crate::liveness::{Liveness, Verdict};
use crate::log::{History, Message, RateLimit};
use crate::memory::Memory;
use crate::names::{NameError, Names};
use crate::pki::Pki;
use crate::responder::{ConnectionKey, Relation, TemplateFlow};
use crate::routes::{ReverseRoute, RouteChange, RouteTable};
use crate::session::{Peer, Session};
use timers::Timers;

/// How often the data plane's times and level states are read.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Something for the shell to carry out.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(ike::Transmit),
    /// Add or remove a kernel route.
    Route(RouteChange),
    /// Resolve this name and answer with [`Brain::resolved`].
    Resolve(String),
    /// Write this to the log.
    Log(Message),
    /// Write this debug text of the IKE endpoint to the log.
    IkeLog(ike::LogRecord),
}

/// What the brain keeps of an IKE SA.
#[derive(Debug)]
struct IkeSa {
    connection: ConnectionId,
    remote: SocketAddr,
    identity: Option<String>,
    established: bool,
    liveness: Option<Liveness>,
    /// A probe is on its way; the endpoint repeats it by itself.
    probing: bool,
    /// Detection gave the peer up and the order to forget the IKE SA is given.
    declared_dead: bool,
}

/// What the brain keeps of an SA pair.
#[derive(Debug)]
struct PairRecord {
    /// None for a pair of a previous control plane: nobody here has the keys of its IKE SA.
    ike: Option<IkeId>,
    entry: EntryKey,
    policy: PolicyId,
    facts: PairFacts,
    /// Routes that exist as long as the pair does.
    routes: Vec<ReverseRoute>,
    /// The soft limit has passed without traffic: rekey as soon as there is some.
    soft_passed: bool,
    rekeying: bool,
    /// What the session was told last: the stamps of the last packet heard and of the last one sent.
    told: (u64, u64),
}

/// What `show` prints of an SA pair; no keys.
#[derive(Clone, Debug)]
struct PairFacts {
    inbound_spi: u32,
    outbound_spi: u32,
    suite: ike::EspSuite,
    mode: ike::Mode,
    local_selectors: Vec<ike::TrafficSelector>,
    remote_selectors: Vec<ike::TrafficSelector>,
    local: IpAddr,
    remote: IpAddr,
    udp: Option<(u16, u16)>,
    hard_limit: Option<Duration>,
}

/// An initiation of ours that has no result yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    entry: EntryKey,
    peer: Peer,
    policy: PolicyId,
    ike: IkeId,
    /// The one before it, to the same peer, ended with its IKE SA.
    again: bool,
}

/// See the module's description.
pub struct Brain {
    endpoint: Endpoint,
    /// The endpoint's settings before any configuration.
    built_in: ike::EndpointConfig,
    table: Installer,
    scale: Scale,
    configuration: Configuration,
    devices: Devices,
    plan: Plan,
    /// What sessions in configuration mode began with, oldest first.
    baselines: Vec<edits::Baseline>,
    /// What is protected without a line of its own, and whether some of it may be over.
    derived: Derived,
    derived_due: bool,
    template_tags: BTreeMap<TemplateFlow, u64>,
    relations: BTreeMap<ConnectionId, Relation>,
    connection_ids: BTreeMap<ConnectionKey, ConnectionId>,
    sessions: BTreeMap<EntryKey, Session>,
    changes: BTreeMap<EntryKey, (u64, crate::select::Reason)>,
    session_timers: Timers<Arc<EntryKey>>,
    /// Changed by [`Brain::enter_ike`] and [`Brain::strike_ike`] only, as the pairs are; see [`books`].
    ike_sas: BTreeMap<IkeId, IkeSa>,
    ikes_of: BTreeSet<(ConnectionId, IkeId)>,
    detection_timers: Timers<IkeId>,
    pairs: BTreeMap<ChildId, PairRecord>,
    pairs_of: BTreeSet<(IkeId, ChildId)>,
    attempts: Vec<Attempt>,
    /// Children that went down with their IKE SA, until the reason is known.
    orphans: BTreeMap<IkeId, Vec<ChildId>>,
    /// Initiations that failed before they began; they are told to their session by the settling loop.
    failed: VecDeque<(EntryKey, Peer)>,
    /// Addresses of peers that are configured by name.
    names: Names,
    /// Flows that wait for the address of their peer.
    resolving: Vec<(EntryKey, Peer, PolicyId)>,
    pki: Pki,
    routes: RouteTable,
    history: History,
    invalid_spi: RateLimit,
    aborts: RateLimit,
    remarks: RateLimit,
    warnings: RateLimit,
    next_scan: Duration,
    /// Until the first configuration.
    memory: Option<Memory>,
    checkpoint_due: bool,
    next_checkpoint: Duration,
    outputs: VecDeque<Output>,
}

impl Brain {
    /// A brain without configuration. `endpoint` brings the randomness, `table` the segments, `memory` what a previous
    /// control plane remembered; it must be the memory that `table` was made with.
    pub fn new(endpoint: Endpoint, table: Installer, scale: Scale, memory: Memory) -> Self {
        Brain {
            built_in: endpoint.config().clone(),
            endpoint,
            table,
            scale,
            configuration: Configuration::default(),
            devices: Devices::new(),
            plan: Plan::default(),
            baselines: Vec::new(),
            derived: Derived::default(),
            derived_due: false,
            template_tags: BTreeMap::new(),
            relations: BTreeMap::new(),
            connection_ids: BTreeMap::new(),
            sessions: BTreeMap::new(),
            changes: BTreeMap::new(),
            session_timers: Timers::default(),
            ike_sas: BTreeMap::new(),
            ikes_of: BTreeSet::new(),
            detection_timers: Timers::default(),
            pairs: BTreeMap::new(),
            pairs_of: BTreeSet::new(),
            attempts: Vec::new(),
            orphans: BTreeMap::new(),
            failed: VecDeque::new(),
            names: Names::default(),
            resolving: Vec::new(),
            pki: Pki::default(),
            routes: RouteTable::default(),
            history: History::default(),
            invalid_spi: RateLimit::new(5),
            aborts: RateLimit::new(20),
            remarks: RateLimit::new(5),
            warnings: RateLimit::new(20),
            next_scan: Duration::ZERO,
            memory: Some(memory),
            checkpoint_due: false,
            next_checkpoint: Duration::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in a datagram from one of the IKE ports; `to` is our address and port.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.endpoint.handle_datagram(ike_time(now), from, to, bytes);
        self.settle(now);
    }

    /// Does what is due. To be called at [`Brain::deadline`]; earlier does no harm.
    pub fn handle_timeout(&mut self, now: Duration) {
        // The data plane's times come first: whoever was heard in the last moment is not declared dead.
        self.scan(now);
        self.endpoint.handle_timeout(ike_time(now));
        self.settle(now);
        self.detect(now);
        for key in self.sessions_due(now) {
            self.with_session(now, &key, |session, intents| session.handle_timeout(now, intents));
        }
        for name in self.names.overdue(now) {
            self.resolved(now, &name, Err(NameError::Timeout));
        }
        self.table.tick(self.scale.stamp(now));
        self.number_the_rest(now);
        self.derived_due |= self.derived.has_lingered(now);
        self.settle(now);
    }

    /// When [`Brain::handle_timeout`] wants to be called next.
    pub fn deadline(&self) -> Duration {
        let endpoint = self.endpoint.poll_timeout().map(crate::clock::from_ike_time);
        let others = endpoint.into_iter().chain(self.names.deadline()).chain(self.checkpoint_at());
        self.alarm().into_iter().chain(others).fold(self.next_scan, Duration::min)
    }

    /// The next thing to carry out, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The running configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The transitions so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Writes a message to the log, and to the history if it is about a session.
    pub fn say(&mut self, message: Message) {
        self.outputs.push_back(Output::Log(message));
    }

    /// Asks the detections whose time has come what to do.
    fn detect(&mut self, now: Duration) {
        let mut verdicts = Vec::new();
        for ike in self.detections_due(now) {
            match self.with_liveness(ike, |liveness| (liveness.poll(now), liveness.timing())) {
                Some((Verdict::Probe(0), timing)) => verdicts.push((ike, Some(timing))),
                Some((Verdict::Dead, _)) => verdicts.push((ike, None)),
                // The endpoint repeats its probe by itself in the same rhythm.
                Some((Verdict::Probe(_) | Verdict::Quiet, _)) | None => {}
            }
        }
        for (ike, timing) in verdicts {
            let Some(sa) = self.ike_sas.get_mut(&ike) else { continue };
            let command = match timing {
                Some(timing) => {
                    sa.probing = true;
                    let retries = timing.probes.saturating_sub(1);
                    ike::Command::Liveness { ike, interval: timing.retry, retries }
                }
                None => {
                    sa.declared_dead = true;
                    ike::Command::DeleteIke { ike, notify_peer: false }
                }
            };
            self.order(now, command);
        }
        self.settle(now);
    }

    /// Gives an order that cannot fail in a way that anybody waits for.
    fn order(&mut self, now: Duration, command: ike::Command) {
        if let Err(error) = self.endpoint.command(ike_time(now), command) {
            self.say(Message::Trouble(error.to_string()));
        }
    }

    /// Lets one thing lead to the next until nothing is left, then collects what is to be sent.
    fn settle(&mut self, now: Duration) {
        loop {
            if let Some(action) = self.endpoint.poll_action() {
                self.handle_action(now, action);
            } else if let Some((entry, peer)) = self.failed.pop_front() {
                self.names.distrust(&peer);
                self.with_session(now, &entry, |session, intents| {
                    session.initiation_failed(now, &peer, intents);
                });
            } else if std::mem::take(&mut self.derived_due) {
                self.sweep_derived(now);
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
