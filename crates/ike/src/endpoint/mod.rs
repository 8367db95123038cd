//! The endpoint: all IKE SAs of a gateway, found by SPI; the entry points of the crate.

mod commands;
mod connections;
mod counters;
mod effects;
mod half_open;
mod ids;
mod rate;
#[cfg(test)]
mod scripted;
mod settings;
mod spis;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::action::{Action, ChildId, IkeId, IkeInfo, Transmit};
use crate::checkpoint::{self, RestoreError, Restored};
use crate::command::Command;
use crate::config::{Connection, ConnectionId, EndpointConfig, SpiSource};
use crate::identity::Identity;
use crate::message::Header;
use crate::random::Random;
use crate::sa::{IkeSa, Phase};
use crate::secret::Secret;
use crate::task::{Ctx, Names};
use crate::time::Time;

pub use commands::CommandError;
pub(crate) use connections::Connections;
pub use counters::Counters;
pub(crate) use effects::Effect;
use half_open::HalfOpens;
pub(crate) use ids::Ids;
pub use spis::RandomSpis;
pub use tables::Tables;

/// All IKE SAs of a gateway.
pub struct Endpoint {
    config: EndpointConfig,
    random: Box<dyn Random>,
    spis: Box<dyn SpiSource>,
    connections: Connections,
    sas: BTreeMap<IkeId, Box<IkeSa>>,
    /// By our SPI.
    by_spi: HashMap<u64, IkeId>,
    /// Established ones, by connection and by the peer's proven identity.
    established: BTreeMap<ConnectionId, Ids>,
    by_peer: BTreeMap<Identity, Ids>,
    /// The IKE SA of each child; children that are only being deleted are not listed.
    child_home: HashMap<ChildId, IkeId>,
    deadlines: BTreeSet<(Time, IkeId)>,
    half_open: HalfOpens,
    names: Names,
    /// IKE SAs whose checkpoint record is out of date.
    changed: BTreeSet<IkeId>,
    transmits: VecDeque<Transmit>,
    actions: VecDeque<Action>,
    counters: Counters,
    /// A point of the caller's clock and the time since 1970 at that point.
    wall_clock: Option<(Time, Duration)>,
}

impl Endpoint {
    /// An endpoint without connections. `spis` gives out inbound ESP SPIs; [`RandomSpis`] is enough
    /// where no other component allocates inbound SPIs.
    pub fn new(config: EndpointConfig, mut random: Box<dyn Random>, spis: Box<dyn SpiSource>) -> Self {
        let half_open = HalfOpens::new(&mut *random);
        Endpoint {
            config,
            random,
            spis,
            connections: Connections::default(),
            sas: BTreeMap::new(),
            by_spi: HashMap::new(),
            established: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            child_home: HashMap::new(),
            deadlines: BTreeSet::new(),
            half_open,
            names: Names::default(),
            changed: BTreeSet::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            wall_clock: None,
        }
    }

    /// Sets the wall-clock time (since 1970), used only for the validity of certificates. To be
    /// called at the start and now and then, as the wall clock may be set; without it no
    /// certificate is accepted.
    pub fn set_unix_time(&mut self, now: Time, since_1970: Duration) {
        self.wall_clock = Some((now, since_1970));
    }

    /// Adds a connection or replaces the one of the same id. Existing IKE SAs keep the old settings
    /// until they are rekeyed; a new child takes the new ones.
    pub fn set_connection(&mut self, connection: Connection) {
        self.connections.insert(connection);
    }

    /// Removes a connection. Its IKE SAs are closed with a Delete to the peers; initiations are
    /// abandoned.
    pub fn remove_connection(&mut self, now: Time, id: ConnectionId) {
        if self.connections.remove(id).is_some() {
            self.close_connection(now, id);
        }
    }

    /// Handles one UDP payload received on one of the IKE ports (`to` is our address and port). On
    /// the NAT-T port it begins with the non-ESP marker; without it, it is ESP and not for the
    /// endpoint.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams += 1;
        let message = if to.port() == self.config.natt_port {
            match bytes.strip_prefix(&[0; 4]) {
                Some(message) => message,
                None => return,
            }
        } else {
            bytes
        };
        let Ok(header) = Header::parse(message) else {
            self.counters.malformed += 1;
            return;
        };
        if header.major != 2 {
            return self.answer_version(now, &header, (from, to));
        }
        // Our SPI is the initiator's if the initiator flag is not set, i.e. the sender is the
        // responder.
        let our_spi = if header.flags.initiator { header.spi_r } else { header.spi_i };
        if our_spi == 0 {
            return self.answer_init(now, (from, to), &header, message);
        }
        match self.by_spi.get(&our_spi).copied() {
            Some(id) => self.with_sa(now, id, |sa, ctx| sa.on_datagram(ctx, (from, to), &header, message)),
            None => self.counters.unknown_spi += 1,
        }
    }

    /// Does what is due. To be called at [`Endpoint::poll_timeout`]; calling it earlier or later
    /// does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.with_sa(now, id, |sa, ctx| sa.on_timeout(ctx));
        }
    }

    /// Carries out a command. Returns the ID of the IKE SA for [`Command::Initiate`], `None` for
    /// all others.
    ///
    /// # Errors
    /// If an initiation or a child names an unknown connection or policy, or the endpoint is full.
    pub fn command(&mut self, now: Time, command: Command) -> Result<Option<IkeId>, CommandError> {
        self.carry_out(now, command)
    }

    /// The next datagram to send, oldest first. To be drained after each call of the three
    /// functions above.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next action, oldest first. To be drained after each call of the three functions above.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The time at which [`Endpoint::handle_timeout`] must be called next. Changes with every other
    /// call.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// The IKE SAs for which [`Endpoint::handle_timeout`] would do something now.
    pub fn overdue(&self, now: Time) -> impl Iterator<Item = IkeId> + '_ {
        self.deadlines.iter().take_while(move |(at, _)| *at <= now).map(|&(_, id)| id)
    }

    /// The state of one IKE SA, also while it is being negotiated.
    pub fn ike_sa(&self, ike: IkeId) -> Option<IkeInfo> {
        self.sas.get(&ike).filter(|sa| sa.is_listed()).map(|sa| sa.info())
    }

    /// All IKE SAs in the order of their creation, without closed ones that only repeat their last
    /// answer.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeInfo> + '_ {
        self.sas.values().filter(|sa| sa.is_listed()).map(|sa| sa.info())
    }

    /// The next IKE SA whose checkpoint record changed since it was polled last: its ID, and the
    /// new record, or `None` if the old record is to be erased. Needs
    /// [`EndpointConfig::checkpoint`]. To be drained, and the records written, *before* the
    /// datagrams of [`Endpoint::poll_transmit`] are sent.
    pub fn poll_checkpoint(&mut self) -> Option<(IkeId, Option<Secret>)> {
        let id = self.changed.pop_first()?;
        Some((id, self.sas.get(&id).and_then(|sa| checkpoint::write(sa))))
    }

    /// Continues an IKE SA of an earlier process from its record. Its connection must be set
    /// before; the clock's origin must be the same. A request that was in flight is sent again; a
    /// child that was being created is given up.
    ///
    /// # Errors
    /// If the record cannot be used; nothing has changed then.
    pub fn restore(&mut self, now: Time, record: &[u8]) -> Result<Restored, RestoreError> {
        let find = |id| self.connections.get(id).cloned();
        let sa = checkpoint::read(record, now, find)?;
        if self.sas.contains_key(&sa.id) || self.by_spi.contains_key(&sa.local_spi) {
            return Err(RestoreError::Exists);
        }
        checkpoint::held_spis(&sa).for_each(|spi| self.spis.claim(spi));
        let restored = Restored { info: sa.info(), children: checkpoint::children(&sa) };
        let id = sa.id;
        self.names.take(id, sa.children.iter().map(|child| child.id).max());
        self.put_back(sa);
        self.with_sa(now, id, |sa, ctx| sa.repeat(ctx));
        Ok(restored)
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets `change` work on one IKE SA, then starts waiting tasks, updates the indices and applies
    /// effects on other IKE SAs.
    fn with_sa(&mut self, now: Time, id: IkeId, change: impl FnOnce(&mut IkeSa, &mut Ctx<'_>)) {
        let Some(mut sa) = self.take(id) else { return };
        let mut effects = Vec::new();
        let mut ctx = self.ctx(now, &mut effects);
        change(&mut sa, &mut ctx);
        sa.pump(&mut ctx);
        self.put_back(sa);
        for effect in effects {
            self.apply(now, effect);
        }
    }

    fn ctx<'a>(&'a mut self, now: Time, effects: &'a mut Vec<Effect>) -> Ctx<'a> {
        let unix_time = self.wall_clock.map(|(at, since_1970)| since_1970 + now.since(at));
        Ctx {
            now,
            unix_time,
            config: &self.config,
            random: &mut *self.random,
            spis: &mut *self.spis,
            connections: &self.connections,
            taken: &self.by_spi,
            established: &self.established,
            names: &mut self.names,
            transmits: &mut self.transmits,
            actions: &mut self.actions,
            counters: &mut self.counters,
            effects,
        }
    }

    /// Takes an IKE SA out of the tables, so that both can be borrowed mutably.
    fn take(&mut self, id: IkeId) -> Option<Box<IkeSa>> {
        let sa = self.sas.remove(&id)?;
        if let Some(at) = sa.deadline() {
            self.deadlines.remove(&(at, id));
        }
        for child in &sa.children {
            self.child_home.remove(&child.id);
        }
        if sa.is_established() {
            remove_from(&mut self.established, &sa.connection.id, id);
            if let Some(identity) = &sa.remote_identity {
                remove_from(&mut self.by_peer, identity, id);
            }
        }
        if matches!(sa.phase, Phase::HalfOpen(_)) {
            self.half_open.leave(&sa);
        }
        Some(sa)
    }

    /// Puts an IKE SA back into the tables and updates the indices; a dead one is dropped.
    fn put_back(&mut self, sa: Box<IkeSa>) {
        let id = sa.id;
        if self.config.checkpoint && sa.established_at.is_some() {
            self.changed.insert(id);
        }
        if matches!(sa.phase, Phase::Dead) {
            self.by_spi.remove(&sa.local_spi);
            return;
        }
        self.by_spi.insert(sa.local_spi, id);
        if let Some(at) = sa.deadline() {
            self.deadlines.insert((at, id));
        }
        for child in sa.children.iter().filter(|child| !child.deleting) {
            self.child_home.insert(child.id, id);
        }
        if sa.is_established() {
            self.established.entry(sa.connection.id).or_default().insert(id);
            if let Some(identity) = &sa.remote_identity {
                self.by_peer.entry(identity.clone()).or_default().insert(id);
            }
        }
        if let Phase::HalfOpen(_) = &sa.phase {
            self.half_open.enter(&sa);
        }
        self.sas.insert(id, sa);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.connections.len())
            .field("ike_sas", &self.sas.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, Ids>, key: &K, id: IkeId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
