//! Taking over a configuration: first what is new, then what is switched over, then what goes. SAs whose entry and
//! permit stay are not touched.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Configuration;
use ike::{ChildTag, ConnectionId, InstallChild};

use super::{Brain, Output, PairRecord};
use crate::clock::ike_time;
use crate::compile::{Devices, EntryKey, Plan};
use crate::log::Message;
use crate::pki::Pki;
use crate::responder::{Relation, relations};
use crate::room::{NoRoom, demand};
use crate::routes::{ReverseRoute, prefixes};
use crate::session::Session;
use crate::settings::endpoint_config;

/// Connections with peers that nobody named come behind all others: an entry that names the peer is asked first.
const FIRST_UNKNOWN: u64 = 1 << 32;

/// Tags of what templates permit, out of the way of policies.
pub(super) const FIRST_TEMPLATE: u64 = 1 << 32;

/// An edited configuration that fits, compiled.
#[derive(Debug)]
pub struct Admitted {
    configuration: Configuration,
    plan: Plan,
}

impl Admitted {
    /// The configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }
}

impl Brain {
    /// Makes `configuration`, on these devices, the running one. Called at the start and whenever a device or an address of
    /// it changes. What does not fit into the table is dropped.
    pub fn configure(&mut self, now: Duration, configuration: Configuration, devices: Devices) {
        if let Some(memory) = &self.memory {
            self.derived = memory.derived();
        }
        let plan = self.compile(&configuration, &devices);
        self.take_over(now, configuration, devices, plan);
    }

    /// Compiles an edited configuration, for [`Brain::configure_admitted`], if the shared segments can hold it.
    ///
    /// # Errors
    /// What has no room; the running configuration stays as it is.
    pub fn admit(&mut self, candidate: Configuration) -> Result<Admitted, NoRoom> {
        self.check_room(&candidate)?;
        let plan = self.compile(&candidate, &self.devices.clone());
        if let Err(error) = self.table.check(&plan.ports, &plan.rules, &plan.filters) {
            let running = &self.plan.policies;
            self.table.forget_policies(|id| running.contains_key(&id));
            return Err(NoRoom::Table(error));
        }
        Ok(Admitted { configuration: candidate, plan })
    }

    /// Whether the shared segments are large enough for a configuration, whatever devices and addresses there will be.
    ///
    /// # Errors
    /// What has no room.
    pub fn check_room(&self, configuration: &Configuration) -> Result<(), NoRoom> {
        Ok(self.table.capacities().check_room(&demand(configuration, &self.derived))?)
    }

    /// Makes an edited configuration the running one, on the devices that there are.
    pub fn configure_admitted(&mut self, now: Duration, admitted: Admitted) {
        let devices = self.devices.clone();
        self.take_over(now, admitted.configuration, devices, admitted.plan);
    }

    /// Permits that found no policy while the data plane still used those of former permits get one as soon as there are enough.
    pub(super) fn number_the_rest(&mut self, now: Duration) {
        let missing = self.plan.unnumbered;
        if missing > 0 && self.table.free_policies() >= missing {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    fn take_over(&mut self, now: Duration, configuration: Configuration, devices: Devices, plan: Plan) {
        self.checkpoint_due = true;
        let had_maps = self.has_maps();
        for note in &plan.notes {
            if !self.plan.notes.contains(note) {
                self.outputs.push_back(Output::Log(Message::Note(note.clone())));
            }
        }
        self.endpoint.set_config(endpoint_config(&configuration, &self.built_in));
        self.configuration = configuration;
        self.devices = devices;
        self.look_up_fixed_names(now);
        let before = std::mem::replace(&mut self.plan, plan);
        self.forget_uncovered();

        for (key, entry) in &self.plan.entries {
            self.sessions
                .entry(key.clone())
                .or_insert_with(|| Session::new(entry.peers.clone(), entry.default_first, entry.idle));
        }
        self.set_relations(true);
        if let Some(memory) = self.memory.take() {
            self.remember(now, memory);
        }
        self.publish();
        self.configure_manual(now);
        self.configure_sessions(now);

        let gone: Vec<EntryKey> =
            before.entries.keys().filter(|key| !self.plan.entries.contains_key(*key)).cloned().collect();
        for key in gone {
            self.close_session(now, &key);
        }
        self.drop_relations(now);
        self.table.forget_policies(|id| self.plan.policies.contains_key(&id));
        self.refresh_detection();
        let has_maps = self.has_maps();
        if has_maps != had_maps {
            self.say(Message::IsakmpOnOff(has_maps));
        }
        self.settle(now);
    }

    /// Takes over certificates, keys and CRLs; before [`Brain::configure`] if both change. IKE SAs that are up stay.
    pub fn set_pki(&mut self, pki: Pki) {
        for trouble in &pki.troubles {
            if !self.pki.troubles.contains(trouble) {
                self.outputs.push_back(Output::Log(Message::Trouble(trouble.clone())));
            }
        }
        self.pki = pki;
    }

    /// The same while the configuration stays: a CRL file has changed.
    pub fn renew_pki(&mut self, now: Duration, pki: Pki) {
        self.set_pki(pki);
        self.refresh_relations(now);
    }

    /// What the trustpoints amount to.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Tells IKE what time it is (since 1970), for the validity of certificates.
    pub fn set_unix_time(&mut self, now: Duration, since_1970: Duration) {
        self.endpoint.set_unix_time(ike_time(now), since_1970);
    }

    /// The devices that the running configuration was compiled with.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The addresses on which IKE is spoken.
    pub fn local_addresses(&self) -> std::collections::BTreeSet<std::net::IpAddr> {
        let templates = self.plan.templates.iter().map(|template| template.entry.local);
        self.plan.entries.values().map(|entry| entry.local).chain(templates).collect()
    }

    fn has_maps(&self) -> bool {
        !self.plan.entries.is_empty() || !self.plan.templates.is_empty()
    }

    /// Whether no newer control plane has taken the table over.
    pub fn is_current(&self) -> bool {
        self.table.is_current()
    }

    /// Publishes ports and rules; while the last publication is still being taken over, the next tick does it.
    /// False if they do not fit; the last ones stay in force.
    pub(super) fn publish(&mut self) -> bool {
        match self.table.publish(&self.plan.ports, &self.plan.rules, &self.plan.filters) {
            Ok(()) => true,
            Err(error) => {
                self.say(Message::Trouble(error.to_string()));
                false
            }
        }
    }

    /// A peer's name got another address: only the connections change.
    pub(super) fn refresh_relations(&mut self, now: Duration) {
        self.set_relations(false);
        let in_use: Vec<ConnectionId> = self.ike_sas.values().map(|sa| sa.connection).collect();
        for (id, relation) in &mut self.relations {
            relation.stale &= !in_use.contains(id);
        }
        self.drop_relations(now);
    }

    fn configure_sessions(&mut self, now: Duration) {
        for entry in self.plan.entries.values().cloned().collect::<Vec<_>>() {
            let key = &entry.key;
            self.with_session(now, key, |session, intents| {
                session.configure(now, entry.peers.clone(), entry.default_first, entry.idle, intents);
            });
            let orphans = self.with_session(now, key, |session, intents| {
                session.retain_policies(|policy| entry.policies.contains(&policy), intents)
            });
            for pair in orphans {
                self.delete_child(now, pair);
            }
        }
    }

    /// The entry is gone, or its map was taken off the interface: its SAs are deleted, the peers told.
    pub(super) fn close_session(&mut self, now: Duration, key: &EntryKey) {
        self.attempts.retain(|attempt| attempt.entry != *key);
        self.resolving.retain(|(entry, ..)| entry != key);
        let pairs =
            self.with_session(now, key, |session, intents| session.retain_policies(|_| false, intents));
        for pair in pairs {
            self.delete_child(now, pair);
        }
        self.sessions.remove(key);
        self.note_session(key);
        self.changes.remove(key);
    }

    /// Hands new and changed connections to the endpoint.
    fn set_relations(&mut self, report: bool) {
        let mut ids = std::mem::take(&mut self.connection_ids);
        let mut tags = std::mem::take(&mut self.template_tags);
        let mut next = ids.values().map(|id| id.0).filter(|id| *id < FIRST_UNKNOWN).max().unwrap_or(0);
        let mut next_unknown = ids.values().map(|id| id.0).max().unwrap_or(0).max(FIRST_UNKNOWN);
        let (built, refused) = relations(
            &self.plan,
            &self.configuration.system.hostname,
            &self.pki,
            |entry, peer| self.address_of(peer, entry.local.is_ipv6()),
            |key| {
                *ids.entry(key.clone()).or_insert_with(|| {
                    let next = if key.unknown.is_some() { &mut next_unknown } else { &mut next };
                    *next += 1;
                    ConnectionId(*next)
                })
            },
            |flow| {
                let next = tags.len() as u64;
                ChildTag(FIRST_TEMPLATE + *tags.entry(flow.clone()).or_insert(next))
            },
        );
        self.connection_ids = ids;
        self.template_tags = tags;
        for reason in refused.into_iter().filter(|_| report) {
            self.say(Message::Note(reason.to_string()));
        }
        for (id, relation) in &built {
            self.endpoint.set_connection(relation.connection.clone());
            debug_assert_eq!(*id, relation.connection.id);
        }
        let gone: BTreeMap<ConnectionId, Relation> = std::mem::replace(&mut self.relations, built);
        // Kept until the sessions have been configured: their Deletes need the connection.
        for (id, relation) in gone {
            self.relations.entry(id).or_insert_with(|| Relation { stale: true, ..relation });
        }
    }

    /// Removes connections that nothing names any more, with their IKE SAs.
    fn drop_relations(&mut self, now: Duration) {
        let stale: Vec<ConnectionId> =
            self.relations.iter().filter(|(_, relation)| relation.stale).map(|(id, _)| *id).collect();
        for id in stale {
            self.relations.remove(&id);
            self.endpoint.remove_connection(ike_time(now), id);
        }
    }

    /// Keepalive lines take effect on IKE SAs that exist.
    fn refresh_detection(&mut self) {
        let ids: Vec<_> = self.ike_sas.iter().map(|(ike, sa)| (*ike, sa.connection)).collect();
        for (ike, connection) in ids {
            let timing = self.timing(connection);
            let Some(sa) = self.ike_sas.get_mut(&ike).filter(|sa| sa.established) else { continue };
            match (timing, &mut sa.liveness) {
                (Some(timing), Some(liveness)) => liveness.set_timing(timing),
                (Some(timing), empty) => {
                    *empty = Some(crate::liveness::Liveness::new(timing, Duration::ZERO))
                }
                (None, liveness) => *liveness = None,
            }
            self.note_detection(ike);
        }
    }

    /// `reverse-route`: routes to what the peer protects, while a pair does.
    pub(super) fn routes_up(&mut self, key: &EntryKey, child: &InstallChild) -> Vec<ReverseRoute> {
        self.make_routes(key, &child.remote_selectors, child.remote)
    }

    pub(super) fn make_routes(
        &mut self,
        key: &EntryKey,
        remote_selectors: &[ike::TrafficSelector],
        peer: std::net::IpAddr,
    ) -> Vec<ReverseRoute> {
        let routes = self.reverse_routes(key, remote_selectors, peer);
        for route in &routes {
            if let Some(change) = self.routes.add(route.clone()) {
                self.outputs.push_back(Output::Route(change));
            }
        }
        routes
    }

    pub(super) fn routes_down(&mut self, record: &PairRecord) {
        for route in &record.routes {
            if let Some(change) = self.routes.remove(route) {
                self.outputs.push_back(Output::Route(change));
            }
        }
    }

    /// The routes that should be in the kernel now, for the start of a shell and after a device came back.
    pub fn reverse_routes_in_use(&self) -> impl Iterator<Item = &ReverseRoute> {
        self.routes.iter()
    }

    fn reverse_routes(
        &self,
        key: &EntryKey,
        remote_selectors: &[ike::TrafficSelector],
        peer: std::net::IpAddr,
    ) -> Vec<ReverseRoute> {
        let Some(entry) = self.plan.entries.get(key) else { return Vec::new() };
        let Some(wanted) = &entry.reverse_route else { return Vec::new() };
        let mut routes: Vec<ReverseRoute> = remote_selectors
            .iter()
            .flat_map(|selector| prefixes(selector.start, selector.end))
            // A route to everything would carry the tunnel itself into the tunnel.
            .filter(|prefix| prefix.length > 0 && !prefix.contains(peer))
            .map(|prefix| ReverseRoute {
                prefix,
                peer: wanted.remote_peer.unwrap_or(peer),
                gateway: wanted.gateway,
                device: entry.device.clone(),
                metric: wanted.distance.map_or(1, u32::from),
            })
            .collect();
        routes.sort();
        routes.dedup();
        routes
    }
}
