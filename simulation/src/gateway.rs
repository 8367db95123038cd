//! A simulated gateway: the real control plane on real segments, with a model of the data plane.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use controlplane::checkpoint::Memory;
use controlplane::clock::Scale;
use controlplane::gateway::{Gateway as ControlPlane, SessionNumber};
use controlplane::plan::Devices;
use controlplane::tables::Tables;
use ike::provider::Provider;
use ike::{Endpoint, EndpointConfig, RandomSpis};
use sa_table::{Capacities, Checkpoint, EventReceiver, Locking, Segments};

use crate::network::{Sabotage, SimulationError};
use crate::plane::DataPlane;
use crate::random::Stream;

/// Capacities for a few tunnels, each with its successor and draining slots.
pub const CAPACITIES: Capacities = Capacities {
    inbound_slots: 48,
    outbound_slots: 48,
    policies: 24,
    arena_words: 1024,
    workers: 1,
    replay_words: 16,
    ring_entries: 8,
    checkpoint_words: 2048,
};

/// Datagrams queued in the socket of a process that does not run.
const BACKLOG: usize = 32;

/// The only session that enters configuration mode.
const TYPIST: SessionNumber = 1;

/// Whether the control plane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Running,
    /// The control plane is not scheduled; the data plane runs, datagrams queue up in the socket.
    Stalled,
    /// The whole system is suspended: its clock stands still, packets to it are lost.
    Asleep,
}

/// A gateway's place in the network and its configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name in the timeline.
    pub name: String,
    /// Its public address.
    pub address: IpAddr,
    /// Its configuration.
    pub configuration: Configuration,
    /// Devices of the configured interfaces.
    pub devices: Devices,
    /// Capacities of its segments.
    pub capacities: Capacities,
}

/// A simulated gateway, see the module documentation.
pub struct Gateway {
    /// Name in the timeline.
    pub name: String,
    /// Its public address.
    pub address: IpAddr,
    /// The control plane.
    pub control: ControlPlane,
    /// The model of the data plane.
    pub plane: DataPlane,
    /// Whether the control plane runs.
    pub condition: Condition,
    /// Reverse routes in the kernel.
    pub routes: usize,
    pub(crate) events: EventReceiver,
    pub(crate) checkpoint: Checkpoint,
    /// The control plane's next deadline, on the network's clock.
    pub(crate) deadline: u64,
    /// How far its clock is behind the network's, from the times it was suspended.
    pub(crate) lag: u64,
    pub(crate) backlog: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    segments: Segments,
    configuration: Configuration,
    devices: Devices,
    provider: &'static Provider,
    random: Stream,
    lives: u64,
    /// A session is in configuration mode.
    is_edited: bool,
    sabotage: Sabotage,
}

impl Gateway {
    pub(crate) fn new(
        setup: Setup,
        provider: &'static Provider,
        random: Stream,
        sabotage: Sabotage,
    ) -> Result<Self, SimulationError> {
        let segments = Segments::create(setup.capacities, Locking::Never)?;
        let gateway = Gateway {
            control: control_plane(&segments, provider, random.fork(0), Memory::default())?,
            plane: DataPlane::attach(&segments, sabotage)?,
            name: setup.name,
            address: setup.address,
            condition: Condition::Running,
            routes: 0,
            events: segments.event_receiver()?,
            checkpoint: segments.checkpoint()?,
            deadline: 0,
            lag: 0,
            backlog: Vec::new(),
            segments,
            configuration: setup.configuration,
            devices: setup.devices,
            provider,
            random,
            lives: 0,
            is_edited: false,
            sabotage,
        };
        Ok(gateway)
    }

    /// Its own clock at this time of the network.
    pub fn clock(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.lag))
    }

    /// The capacities of its segments.
    pub fn capacities(&self) -> &Capacities {
        self.segments.capacities()
    }

    /// Makes this the running configuration.
    pub(crate) fn configure(&mut self, now: u64, configuration: Option<Configuration>) {
        if let Some(configuration) = configuration {
            self.configuration = configuration;
        }
        let now = self.clock(now);
        self.control.configure(now, self.configuration.clone(), self.devices.clone());
    }

    /// A session enters configuration mode and removes every access list.
    pub(crate) fn remove_lists(&mut self, now: u64) {
        let now = self.clock(now);
        self.control.begin_edit(TYPIST, Arc::new(self.configuration.clone()));
        self.is_edited = true;
        let without = Configuration { access_lists: Default::default(), ..self.configuration.clone() };
        self.control.configure(now, without, self.devices.clone());
    }

    /// The session enters the lists again and leaves configuration mode. False if there is no
    /// session.
    pub(crate) fn retype_lists(&mut self, now: u64) -> bool {
        let open = std::mem::take(&mut self.is_edited);
        if open {
            self.configure(now, None);
            self.control.end_edit(self.clock(now), TYPIST);
        }
        open
    }

    /// Kills and restarts the control plane, with its checkpoint or without.
    pub(crate) fn restart_control_plane(&mut self, now: u64, keep: bool) -> Result<(), SimulationError> {
        let memory = self.checkpoint.load().filter(|_| keep);
        let memory = memory.and_then(|(_, bytes)| Memory::decode(&bytes)).unwrap_or_default();
        self.lives += 1;
        self.is_edited = false;
        self.control = control_plane(&self.segments, self.provider, self.random.fork(self.lives), memory)?;
        self.backlog.clear();
        self.routes = 0;
        self.configure(now, None);
        Ok(())
    }

    /// Kills and restarts the data plane; held packets are lost.
    pub(crate) fn restart_data_plane(&mut self) -> Result<(), SimulationError> {
        let fresh = DataPlane::attach(&self.segments, self.sabotage)?;
        let before = std::mem::replace(&mut self.plane, fresh);
        self.plane.inherit(before);
        Ok(())
    }

    /// Power cycle: new segments, all state is lost.
    pub(crate) fn reboot(&mut self, now: u64) -> Result<(), SimulationError> {
        self.segments = Segments::create(*self.segments.capacities(), Locking::Never)?;
        self.events = self.segments.event_receiver()?;
        self.checkpoint = self.segments.checkpoint()?;
        self.restart_data_plane()?;
        self.restart_control_plane(now, false)
    }

    /// Queues a datagram for a control plane that does not run; at the limit it is lost.
    pub(crate) fn pile_up(&mut self, datagram: (SocketAddr, SocketAddr, Vec<u8>)) {
        if self.backlog.len() < BACKLOG {
            self.backlog.push(datagram);
        }
    }
}

fn control_plane(
    segments: &Segments,
    provider: &'static Provider,
    random: Stream,
    memory: Memory,
) -> Result<ControlPlane, SimulationError> {
    let config = EndpointConfig { provider, ..EndpointConfig::default() };
    let endpoint = Endpoint::new(config, Box::new(random), Box::new(RandomSpis::default()));
    let tables = Tables::new(segments.table_writer()?, segments.runtime_reader()?, &memory);
    Ok(ControlPlane::new(endpoint, tables, Scale::default(), memory))
}
