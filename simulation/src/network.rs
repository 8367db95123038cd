//! Gateways, the network between them and their common clock: a discrete-event simulation with a
//! resolution of one millisecond.
//!
//! It is deterministic: nothing reads a real clock, draws a real random number or depends on a
//! memory address.

mod due;
mod outside;
mod packets;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use controlplane::gateway::Output;
use controlplane::names::{Answer, NameError};
use controlplane::report::Message;
use controlplane::routes::RouteChange;
use ike::provider::Provider;
use sa_table::FiveTuple;

use crate::gateway::{Condition, Gateway, Setup};
use crate::monitor::Monitor;
use crate::plane::{Packet, Sealed};
use crate::random::Stream;

use due::{Due, Happening};
pub use due::{Flow, Line};
pub use wire::{Link, Wire};

/// Start time of the clock; not zero, because a time stamp of zero means never.
pub const ORIGIN: u64 = 1_000_000;

/// Overdue deadlines are served at most once in a millisecond, as in the real process.
const SHORTEST_WAIT: u64 = 1;

/// TTL of a name.
const NAME_TTL: Duration = Duration::from_secs(60);

/// Timeout of a name query.
const RESOLVER_PATIENCE: u64 = 1000;

/// An error of the simulation itself.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The segments could not be created.
    #[error("the shared segments cannot be made: {0}; raise the limit of open files (ulimit -n)")]
    Create(#[from] sa_table::CreateError),
    /// The segments could not be attached.
    #[error("the shared segments cannot be attached to: {0}; raise the limit of open files (ulimit -n)")]
    Attach(#[from] sa_table::AttachError),
}

/// A deliberately broken component, to show that the corresponding invariant is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing is broken.
    #[default]
    None,
    /// The data plane sends everything in clear.
    Clear,
    /// The data plane never requests an SA.
    NeverAsks,
    /// The worker announces no generations.
    WorkerHangs,
    /// The network drops IKE without informing the monitor.
    SilentLoss,
    /// The peer list is reversed without a configuration change.
    SecretEdit,
    /// A message that is reported as forged is authentic.
    RealForgery,
    /// The monitor sees another SA under the policy word than the actual one.
    WrongWord,
}

/// The simulated network.
pub struct Network {
    /// Time in milliseconds; starts at [`ORIGIN`].
    pub now: u64,
    /// The gateways; all other indexes refer to this list.
    pub gateways: Vec<Gateway>,
    /// The links between the gateways.
    pub wire: Wire,
    /// The applications.
    pub flows: Vec<Flow>,
    /// Addresses of names; other names do not resolve.
    pub zone: BTreeMap<String, Vec<IpAddr>>,
    /// Delay of a name query.
    pub name_delay: u64,
    /// The invariant checks, if enabled.
    pub monitor: Option<Box<Monitor>>,
    /// The timeline, if recorded.
    pub timeline: Option<Vec<Line>>,
    /// Recently received IKE messages, as material for forgeries.
    pub overheard: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// IKE messages sent by gateways, including lost ones.
    pub ike_messages: u64,
    sabotage: Sabotage,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
    sealed: Vec<Sealed>,
}

const OVERHEARD: usize = 8;

impl Network {
    /// A network in which every gateway is configured and no packet is in flight.
    ///
    /// # Errors
    /// If the segments cannot be created.
    pub fn new(
        setups: Vec<Setup>,
        provider: &'static Provider,
        random: &Stream,
        sabotage: Sabotage,
    ) -> Result<Self, SimulationError> {
        let gateways = (1..)
            .zip(setups)
            .map(|(number, setup)| Gateway::new(setup, provider, random.fork(number), sabotage))
            .collect::<Result<Vec<_>, _>>()?;
        let wire = Wire::new(gateways.iter().map(|gateway| gateway.address).collect(), random.fork(100));
        Ok(Network {
            now: ORIGIN,
            gateways,
            wire,
            flows: Vec::new(),
            zone: BTreeMap::new(),
            name_delay: 30,
            monitor: None,
            timeline: None,
            overheard: Vec::new(),
            ike_messages: 0,
            sabotage,
            queue: BinaryHeap::new(),
            number: 0,
            sealed: Vec::new(),
        })
    }

    /// Starts the control planes.
    pub fn start(&mut self) {
        for index in 0..self.gateways.len() {
            self.gateways[index].configure(self.now, None);
            self.follow_up(index);
        }
    }

    /// Adds an application that does not send yet.
    pub fn add_flow(&mut self, gateway: usize, tuple: FiveTuple, journal: bool) -> usize {
        self.flows.push(Flow {
            gateway,
            tuple,
            interval: 0,
            since: self.now,
            sent: 0,
            answered: 0,
            last_answer: 0,
            journal: journal.then(Vec::new),
            epoch: 0,
        });
        self.flows.len() - 1
    }

    /// Sets the sending interval of an application in milliseconds; the first packet is sent at
    /// once. 0 stops it.
    pub fn set_interval(&mut self, flow: usize, interval: u64) {
        let now = self.now;
        let Some(entry) = self.flows.get_mut(flow) else { return };
        if entry.interval == 0 {
            entry.since = now;
        }
        entry.interval = interval;
        entry.epoch += 1;
        let epoch = entry.epoch;
        if interval > 0 {
            self.put(0, Happening::Send { flow, epoch });
        }
    }

    /// Advances the time.
    pub fn run_until(&mut self, end: u64) {
        loop {
            let timer = self
                .gateways
                .iter()
                .enumerate()
                .filter(|(_, gateway)| gateway.condition == Condition::Running)
                .map(|(index, gateway)| (gateway.deadline, index))
                .min();
            let arrival = self.queue.peek().map(|Reverse(due)| due.at);
            match (timer, arrival) {
                (Some((at, index)), arrival) if arrival.is_none_or(|arrival| at <= arrival) => {
                    if at > end {
                        break;
                    }
                    self.now = self.now.max(at);
                    self.timeout(index);
                }
                (_, Some(at)) => {
                    if at > end {
                        break;
                    }
                    self.now = self.now.max(at);
                    if let Some(Reverse(due)) = self.queue.pop() {
                        self.happen(due.what);
                    }
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    fn timeout(&mut self, index: usize) {
        self.tick(index);
        let gateway = &mut self.gateways[index];
        let clock = gateway.clock(self.now);
        gateway.control.handle_timeout(clock);
        self.follow_up(index);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Ike { from, to, bytes } if self.sabotage == Sabotage::RealForgery => {
                self.forge(from, to, &bytes);
            }
            Happening::Ike { from, to, bytes } => {
                self.ike_arrives(from, to, &bytes);
                if self.at(to.ip()).is_some_and(|index| self.gateways[index].condition == Condition::Running)
                {
                    if self.overheard.len() == OVERHEARD {
                        self.overheard.remove(0);
                    }
                    self.overheard.push((from, to, bytes));
                }
            }
            Happening::Esp { from, to, sealed } => self.esp_arrives(from, to, sealed),
            Happening::Send { flow, epoch } => {
                let Some(entry) = self.flows.get_mut(flow).filter(|flow| flow.epoch == epoch) else { return };
                let packet = Packet { flow, number: entry.sent, answer: false, tuple: entry.tuple };
                entry.sent += 1;
                if let Some(journal) = &mut entry.journal {
                    journal.push((self.now, None));
                }
                let (gateway, interval) = (entry.gateway, entry.interval);
                self.put(interval, Happening::Send { flow, epoch });
                self.with_monitor(|monitor, network| monitor.offered(network, flow));
                self.send(gateway, packet);
            }
            Happening::Resolved { gateway, name } => {
                let known = self.zone.get(&name).cloned();
                let answer =
                    known.map(|addresses| Answer { addresses, ttl: NAME_TTL }).ok_or(NameError::NotFound);
                let asked = &mut self.gateways[gateway];
                if asked.condition == Condition::Running {
                    let clock = asked.clock(self.now);
                    asked.control.resolved(clock, &name, answer);
                    self.follow_up(gateway);
                } else {
                    // An unanswered query ends with a timeout.
                    self.put(RESOLVER_PATIENCE, Happening::Resolved { gateway, name });
                }
            }
        }
    }

    /// Processes the output and events of a control plane until there are none; then the data plane
    /// takes over the changes.
    fn follow_up(&mut self, index: usize) {
        let clock = self.gateways[index].clock(self.now);
        loop {
            let gateway = &mut self.gateways[index];
            if let Some(memory) = gateway.control.checkpoint(clock)
                && gateway.checkpoint.store(&memory).is_err()
            {
                self.trouble(index, "the checkpoint is too small");
                continue;
            }
            if let Some(output) = gateway.control.poll_output() {
                self.carry_out(index, output);
            } else if let Some((_, event)) = gateway.events.receive() {
                self.with_monitor(|monitor, network| monitor.after(network, index));
                self.gateways[index].control.handle_event(clock, &event);
            } else {
                break;
            }
        }
        self.tick(index);
        let gateway = &mut self.gateways[index];
        let wanted = gateway.control.deadline().as_millis() as u64 + gateway.lag;
        gateway.deadline = wanted.max(self.now + SHORTEST_WAIT);
        self.with_monitor(|monitor, network| monitor.after(network, index));
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        match output {
            Output::Transmit(ike::Transmit { from, to, bytes }) => self.transmit(from, to, bytes),
            Output::Log(message) => {
                if let Message::PeerChange { entry, old, new, reason } = &message
                    && let Some(mut monitor) = self.monitor.take()
                {
                    monitor.peer_change(self, index, entry, old, new, *reason);
                    self.monitor = Some(monitor);
                }
                if let Message::Trouble(text) = &message {
                    self.trouble(index, text);
                }
                if self.timeline.is_some() {
                    self.note(Some(index), message.to_string());
                }
            }
            Output::Route(RouteChange::Add(_)) => self.gateways[index].routes += 1,
            Output::Route(RouteChange::Remove(_)) => {
                let routes = &mut self.gateways[index].routes;
                *routes = routes.saturating_sub(1);
            }
            Output::Resolve(name) => {
                self.put(self.name_delay, Happening::Resolved { gateway: index, name });
            }
            Output::IkeLog(record) => {
                if self.timeline.is_some() {
                    self.note(Some(index), format!("ike {}: {}", record.peer.ip(), record.text));
                }
            }
        }
    }

    fn trouble(&mut self, index: usize, text: &str) {
        self.with_monitor(|monitor, network| monitor.trouble(network, index, text));
    }

    fn transmit(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.ike_messages += 1;
        if self.sabotage == Sabotage::SilentLoss && self.now > ORIGIN + 20_000 {
            return;
        }
        if let Some(delay) = self.wire.way(from.ip(), to.ip()) {
            if let Some(again) = self.wire.again(from.ip(), to.ip()) {
                self.put(again, Happening::Ike { from, to, bytes: bytes.clone() });
            }
            self.put(delay, Happening::Ike { from, to, bytes });
        }
    }

    fn put(&mut self, delay: u64, what: Happening) {
        self.number += 1;
        self.queue.push(Reverse(Due { at: self.now + delay, number: self.number, what }));
    }

    /// The gateway that has this address.
    pub fn at(&self, address: IpAddr) -> Option<usize> {
        self.gateways.iter().position(|gateway| gateway.address == address)
    }

    /// Adds a line to the timeline, if it is recorded.
    pub fn note(&mut self, gateway: Option<usize>, text: impl Into<String>) {
        let at = self.now - ORIGIN;
        let who = gateway.map_or("", |index| &self.gateways[index].name).to_owned();
        if let Some(timeline) = &mut self.timeline {
            timeline.push(Line { at, who, text: text.into() });
        }
    }

    pub(crate) fn with_monitor(&mut self, call: impl FnOnce(&mut Monitor, &Network)) {
        if let Some(mut monitor) = self.monitor.take() {
            call(&mut monitor, self);
            self.monitor = Some(monitor);
        }
    }
}
