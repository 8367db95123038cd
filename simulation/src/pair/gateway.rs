//! One end of the pair: its endpoint, and the state that a control plane would hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ike::{
    Action, ChildId, ChildTag, Connection, Endpoint, EndpointConfig, IkeId, IkeInfo, InstallChild, Random,
    Secret, SpiSource, Time,
};

use crate::random::Stream;

/// An SPI allocator that detects leaks.
#[derive(Clone, Debug, Default)]
pub struct WatchedSpis(Arc<Mutex<BTreeSet<u32>>>);

impl WatchedSpis {
    /// The number of allocated SPIs.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no SPI is allocated.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl SpiSource for WatchedSpis {
    fn allocate(&mut self, random: &mut dyn Random) -> Option<u32> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut bytes = [0; 4];
            random.fill(&mut bytes);
            let spi = u32::from_be_bytes(bytes);
            if spi >= 256 && given.insert(spi) {
                return Some(spi);
            }
        }
    }

    fn claim(&mut self, spi: u32) {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(spi);
        assert!(fresh, "SPI {spi:08x} was claimed twice");
    }

    fn release(&mut self, spi: u32) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&spi);
        assert!(known, "SPI {spi:08x} was released twice");
    }
}

/// One end of the pair.
pub struct Gateway {
    /// Name in the timeline.
    pub name: &'static str,
    /// Address and IKE port.
    pub address: SocketAddr,
    /// The IKE endpoint.
    pub endpoint: Endpoint,
    /// Allocated inbound SPIs.
    pub spis: WatchedSpis,
    /// Established IKE SAs.
    pub up: BTreeMap<IkeId, IkeInfo>,
    /// Installed children.
    pub children: BTreeMap<ChildId, InstallChild>,
    /// Requested children without a result yet, with their IKE SA.
    pub asked: BTreeMap<ChildTag, IkeId>,
    /// The stored records of IKE SAs, which a restarted endpoint resumes from.
    pub records: BTreeMap<IkeId, Secret>,
    /// How far its clock is ahead, in milliseconds.
    pub ahead: i64,
    /// Not scheduled before this time of the simulation.
    pub stalled_until: u64,
    config: EndpointConfig,
    connection: Connection,
}

impl Gateway {
    /// A gateway without state.
    pub fn new(
        name: &'static str,
        address: SocketAddr,
        config: EndpointConfig,
        connection: Connection,
        random: Stream,
    ) -> Self {
        let spis = WatchedSpis::default();
        let endpoint = endpoint(&config, &connection, &spis, random);
        Gateway {
            name,
            address,
            endpoint,
            spis,
            up: BTreeMap::new(),
            children: BTreeMap::new(),
            asked: BTreeMap::new(),
            records: BTreeMap::new(),
            ahead: 0,
            stalled_until: 0,
            config,
            connection,
        }
    }

    /// Its clock at time `now` of the simulation.
    pub fn clock(&self, now: u64) -> Time {
        Time::from_millis(now.saturating_add_signed(self.ahead))
    }

    /// Its next deadline, in time of the simulation.
    pub fn due(&self) -> Option<u64> {
        let at = self.endpoint.poll_timeout()?.as_millis().saturating_add_signed(-self.ahead);
        Some(at.max(self.stalled_until))
    }

    /// Applies another configuration of the connection.
    pub fn edit(&mut self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.connection);
        self.endpoint.set_connection(self.connection.clone());
    }

    /// Stores the records, before anything is sent.
    pub fn store_records(&mut self) {
        while let Some((ike, record)) = self.endpoint.poll_checkpoint() {
            match record {
                Some(record) => self.records.insert(ike, record),
                None => self.records.remove(&ike),
            };
        }
    }

    /// Kills the endpoint and starts another with the stored records or, as after a power failure,
    /// without them.
    pub fn restart(&mut self, now: u64, keep: bool, random: Stream) {
        self.spis = WatchedSpis::default();
        self.endpoint = endpoint(&self.config, &self.connection, &self.spis, random);
        self.up.clear();
        self.asked.clear();
        let before = std::mem::take(&mut self.children);
        let records = std::mem::take(&mut self.records);
        let clock = self.clock(now);
        for record in records.into_values().filter(|_| keep) {
            let restored = match self.endpoint.restore(clock, record.expose()) {
                Ok(restored) => restored,
                Err(error) => panic!("{}: {error}", self.name),
            };
            self.up.insert(restored.info.ike, restored.info.clone());
        }
        // Remove children in the data plane whose IKE SA was not resumed.
        for (id, mut child) in before {
            let home = self.up.values().find(|info| info.children.contains(&id));
            if let Some(home) = home {
                child.ike = home.ike;
                self.children.insert(id, child);
            }
        }
        let restored: usize = self.up.values().map(|info| info.children.len()).sum();
        assert_eq!(
            restored,
            self.children.len(),
            "{}: a child was restored that was not installed",
            self.name
        );
    }

    /// Applies an action to the state; an inconsistent action panics. Returns the line for the
    /// timeline.
    pub fn note(&mut self, action: Action) -> Option<String> {
        Some(match action {
            Action::PeerHeard { .. } => return None,
            Action::Log(record) => format!("  log: {}", record.text),
            Action::InstallChild(child) => {
                let line = format!("install {:?} of {:?} for {:?}", child.child, child.ike, child.replaces);
                assert!(self.up.contains_key(&child.ike), "a child of an IKE SA that is not up");
                self.asked.remove(&child.tag);
                assert!(self.children.insert(child.child, *child).is_none(), "a child was installed twice");
                line
            }
            Action::OutboundReady { child } => {
                let Some(known) = self.children.get_mut(&child) else { panic!("{child:?} is unknown") };
                known.outbound_ready = true;
                format!("ready {child:?}")
            }
            Action::RemoveChild { child, reason, inbound_spi, .. } => {
                let removed = self.children.remove(&child);
                let spi = removed.map(|removed| removed.inbound.spi);
                assert_eq!(spi, Some(inbound_spi), "removed a child that was not installed");
                format!("remove {child:?} {reason:?}")
            }
            Action::IkeUp(info) => {
                let line = format!("up {:?}", info.ike);
                assert!(self.up.insert(info.ike, *info).is_none(), "up twice");
                line
            }
            Action::IkeRekeyed { old, new } => {
                let line = format!("rekeyed {old:?} by {:?}", new.ike);
                assert!(self.up.remove(&old).is_some(), "rekeyed an IKE SA that was not up");
                self.children
                    .values_mut()
                    .filter(|child| child.ike == old)
                    .for_each(|child| child.ike = new.ike);
                self.asked.values_mut().filter(|ike| **ike == old).for_each(|ike| *ike = new.ike);
                assert!(self.up.insert(new.ike, *new).is_none(), "up twice");
                line
            }
            Action::IkeDown { ike, reason, .. } => {
                assert!(self.up.remove(&ike).is_some(), "down without up");
                let orphaned = self.children.values().any(|child| child.ike == ike);
                assert!(!orphaned, "children of an IKE SA that is down");
                self.asked.retain(|_, on| *on != ike);
                format!("down {ike:?} {reason:?}")
            }
            Action::InitiationFailed { ike, reason, protected, .. } => {
                self.asked.retain(|_, on| *on != ike);
                format!("initiation failed {reason:?} protected={protected}")
            }
            Action::ChildFailed { tag, reason, rekeying, .. } => {
                if rekeying.is_none() {
                    self.asked.remove(&tag);
                }
                format!("child failed {tag:?} {reason:?} rekeying={rekeying:?}")
            }
            Action::Redirected { .. } => panic!("unexpected redirect"),
            Action::ChildSoftLimit { child, .. } => format!("soft limit {child:?}"),
            Action::PeerEndpointChanged { remote, .. } => format!("peer endpoint {remote}"),
        })
    }
}

fn endpoint(
    config: &EndpointConfig,
    connection: &Connection,
    spis: &WatchedSpis,
    random: Stream,
) -> Endpoint {
    let mut endpoint = Endpoint::new(config.clone(), Box::new(random), Box::new(spis.clone()));
    endpoint.set_connection(connection.clone());
    endpoint
}
