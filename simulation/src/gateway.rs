//! One simulated gateway: the real control plane on real segments, with the model of a data plane.

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

/// Room for a few tunnels, each with its successor and what drains.
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

/// Datagrams that a socket keeps for a process that does not run.
const BACKLOG: usize = 32;

/// The one session that ever enters configuration mode.
const TYPIST: SessionNumber = 1;

/// Whether the control plane gets to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Running,
    /// It is not scheduled; the data plane works on, datagrams pile up in the socket.
    Stalled,
    /// The whole machine sleeps: its clock stands still, what is sent to it is lost.
    Asleep,
}

/// Where a gateway stands in the network and what it is told to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// For the timeline.
    pub name: String,
    /// Its address on the internet.
    pub address: IpAddr,
    /// Its configuration.
    pub configuration: Configuration,
    /// Devices behind the configured interfaces.
    pub devices: Devices,
    /// Room in its segments.
    pub capacities: Capacities,
}

/// See the module's description.
pub struct Gateway {
    /// For the timeline.
    pub name: String,
    /// Its address on the internet.
    pub address: IpAddr,
    /// The control plane.
    pub control: ControlPlane,
    /// The model of the data plane.
    pub plane: DataPlane,
    /// Whether the control plane gets to run.
    pub condition: Condition,
    /// Reverse routes in the kernel.
    pub routes: usize,
    pub(crate) events: EventReceiver,
    pub(crate) checkpoint: Checkpoint,
    /// When the control plane wants to be called, on the network's clock.
    pub(crate) deadline: u64,
    /// How far its clock is behind the network's: it stood still while the machine slept.
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

    /// A session removes every access list.
    pub(crate) fn remove_lists(&mut self, now: u64) {
        let now = self.clock(now);
        self.control.begin_edit(TYPIST, Arc::new(self.configuration.clone()));
        self.is_edited = true;
        let without = Configuration { access_lists: Default::default(), ..self.configuration.clone() };
        self.control.configure(now, without, self.devices.clone());
    }

    /// The session types them again and leaves configuration mode. False if there is none.
    pub(crate) fn retype_lists(&mut self, now: u64) -> bool {
        let open = std::mem::take(&mut self.is_edited);
        if open {
            self.configure(now, None);
            self.control.end_edit(self.clock(now), TYPIST);
        }
        open
    }

    /// The control plane is killed and started again, with what it wrote to the checkpoint or
    /// without.
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

    /// The data plane is killed and started again; what waited in it is lost.
    pub(crate) fn restart_data_plane(&mut self) -> Result<(), SimulationError> {
        let fresh = DataPlane::attach(&self.segments, self.sabotage)?;
        let before = std::mem::replace(&mut self.plane, fresh);
        self.plane.inherit(before);
        Ok(())
    }

    /// Power off and on: new segments, nothing remembered.
    pub(crate) fn reboot(&mut self, now: u64) -> Result<(), SimulationError> {
        self.segments = Segments::create(*self.segments.capacities(), Locking::Never)?;
        self.events = self.segments.event_receiver()?;
        self.checkpoint = self.segments.checkpoint()?;
        self.restart_data_plane()?;
        self.restart_control_plane(now, false)
    }

    /// Keeps a datagram for a control plane that does not run; too many are lost.
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
