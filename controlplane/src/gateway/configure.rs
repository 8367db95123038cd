//! Applies a configuration in this order: add what is new, switch over, remove what is old. SAs
//! whose entry and permit are unchanged are not affected.

use std::time::Duration;

use config::Configuration;

use super::Gateway;
use crate::clock::ike_time;
use crate::pki::Pki;
use crate::plan::{Devices, EntryKey, Plan};
use crate::report::Message;
use crate::room::{NoRoom, demand};
use crate::settings::endpoint_config;

/// A compiled candidate configuration that fits into the shared segments.
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

impl Gateway {
    /// Makes `configuration`, on these devices, the running one. Called at start-up and whenever a
    /// device or one of its addresses changes. Traffic of policies that do not fit into the table
    /// is dropped.
    pub fn configure(&mut self, now: Duration, configuration: Configuration, devices: Devices) {
        if let Some(memory) = self.checkpoint.previous() {
            self.dynamic.restore(memory.derived());
        }
        let plan = self.compile(&configuration, &devices);
        self.take_over(now, configuration, devices, plan);
    }

    /// Compiles a candidate configuration for [`Gateway::configure_admitted`], if it fits into the
    /// shared segments.
    ///
    /// # Errors
    /// What exceeds the segments; the running configuration is unchanged.
    pub fn admit(&mut self, candidate: Configuration) -> Result<Admitted, NoRoom> {
        self.check_room(&candidate)?;
        let plan = self.compile(&candidate, &self.devices.clone());
        if let Err(error) = self.tables.check(&plan.ports, &plan.rules, &plan.filters) {
            let running = &self.plan.policies;
            self.tables.forget_policies(|id| running.contains_key(&id));
            return Err(NoRoom::Table(error));
        }
        Ok(Admitted { configuration: candidate, plan })
    }

    /// Whether the shared segments are large enough for a configuration, independently of devices
    /// and addresses.
    ///
    /// # Errors
    /// What exceeds the segments.
    pub fn check_room(&self, configuration: &Configuration) -> Result<(), NoRoom> {
        Ok(self.tables.capacities().check_room(&demand(configuration, self.dynamic.derived()))?)
    }

    /// Makes a candidate configuration the running one, on the current devices.
    pub fn configure_admitted(&mut self, now: Duration, admitted: Admitted) {
        let devices = self.devices.clone();
        self.take_over(now, admitted.configuration, devices, admitted.plan);
    }

    /// Assigns policies to permits that got none because the data plane still used those of removed
    /// permits, as soon as enough are free.
    pub(super) fn number_the_rest(&mut self, now: Duration) {
        let missing = self.plan.unnumbered;
        if missing > 0 && self.tables.free_policies() >= missing {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    /// Compiles a configuration with the derived entries and the baselines of open sessions.
    pub(super) fn compile(&mut self, configuration: &Configuration, devices: &Devices) -> Plan {
        self.edits.compile(configuration, devices, self.dynamic.derived(), &mut self.tables)
    }

    fn take_over(&mut self, now: Duration, configuration: Configuration, devices: Devices, plan: Plan) {
        self.checkpoint.mark();
        let had_maps = self.has_maps();
        for note in &plan.notes {
            if !self.plan.notes.contains(note) {
                self.report.note(note);
            }
        }
        self.endpoint.set_config(endpoint_config(&configuration, &self.built_in));
        self.configuration = configuration;
        self.devices = devices;
        self.report.configure(&self.configuration.ipsec);
        self.names.configure(&self.configuration.system);
        self.look_up_fixed_names(now);
        let before = std::mem::replace(&mut self.plan, plan);
        self.dynamic.forget_uncovered(&self.plan);

        self.peers.add(self.plan.entries.values());
        self.rebuild_connections(true);
        if let Some(memory) = self.checkpoint.take_previous() {
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
        self.drop_stale_connections(now);
        self.tables.forget_policies(|id| self.plan.policies.contains_key(&id));
        self.refresh_detection();
        let has_maps = self.has_maps();
        if has_maps != had_maps {
            self.report.say(Message::IsakmpOnOff(has_maps));
        }
        self.settle(now);
    }

    /// Sets certificates, keys and CRLs; to be called before [`Gateway::configure`] if both change.
    /// Established IKE SAs stay.
    pub fn set_pki(&mut self, pki: Pki) {
        for trouble in &pki.troubles {
            if !self.pki.troubles.contains(trouble) {
                self.report.trouble(trouble);
            }
        }
        self.pki = pki;
    }

    /// Sets them when only a CRL file has changed.
    pub fn renew_pki(&mut self, now: Duration, pki: Pki) {
        self.set_pki(pki);
        self.refresh_connections(now);
    }

    /// The certificates, keys and CRLs in use.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Sets the wall-clock time (since 1970), which certificate validity is checked against.
    pub fn set_unix_time(&mut self, now: Duration, since_1970: Duration) {
        self.endpoint.set_unix_time(ike_time(now), since_1970);
    }

    /// The devices that the running configuration was compiled with.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The local addresses that IKE listens on.
    pub fn local_addresses(&self) -> std::collections::BTreeSet<std::net::IpAddr> {
        let templates = self.plan.templates.iter().map(|template| template.entry.local);
        self.plan.entries.values().map(|entry| entry.local).chain(templates).collect()
    }

    fn has_maps(&self) -> bool {
        !self.plan.entries.is_empty() || !self.plan.templates.is_empty()
    }

    /// Whether this control plane still owns the table.
    pub fn is_current(&self) -> bool {
        self.tables.is_current()
    }

    /// Publishes ports and rules; while the workers still take over the last publication, the next
    /// tick repeats it. False if they do not fit: the last publication stays in force.
    pub(super) fn publish(&mut self) -> bool {
        match self.tables.publish(&self.plan.ports, &self.plan.rules, &self.plan.filters) {
            Ok(()) => true,
            Err(error) => {
                self.report.trouble(error);
                false
            }
        }
    }

    /// A peer's name has a new address, or certificates changed: only the connections are rebuilt.
    pub(super) fn refresh_connections(&mut self, now: Duration) {
        self.rebuild_connections(false);
        self.connections.keep_used(&self.tunnels.connections_in_use());
        self.drop_stale_connections(now);
    }

    fn configure_sessions(&mut self, now: Duration) {
        for entry in self.plan.entries.values().cloned().collect::<Vec<_>>() {
            let key = &entry.key;
            self.tell(now, key, |session, intents| {
                session.configure(now, entry.peers.clone(), entry.default_first, entry.idle, intents);
            });
            let gone = self.tell(now, key, |session, intents| {
                session.retain_policies(|policy| entry.policies.contains(&policy), intents)
            });
            for pair in gone {
                self.delete_child(now, pair);
            }
        }
    }

    /// The entry was removed, or its map was taken off the interface: deletes its SAs and notifies
    /// the peers.
    pub(super) fn close_session(&mut self, now: Duration, key: &EntryKey) {
        self.tunnels.take_attempts(|attempt| attempt.entry == *key);
        self.names.forget_waiting(|waiting| waiting.entry == *key);
        let pairs = self.tell(now, key, |session, intents| session.retain_policies(|_| false, intents));
        for pair in pairs {
            self.delete_child(now, pair);
        }
        self.peers.remove(key);
        self.report.forget_entry(key);
    }

    /// Passes new and changed connections to the endpoint. With `reports`, logs why a peer has
    /// none.
    fn rebuild_connections(&mut self, reports: bool) {
        let names = &self.names;
        let (connections, refused) = self.connections.rebuild(
            &self.plan,
            &self.configuration.system.hostname,
            &self.pki,
            |entry, peer| names.address_of(peer, entry.local.is_ipv6()),
        );
        for reason in refused.into_iter().filter(|_| reports) {
            self.report.note(reason);
        }
        for connection in connections {
            self.endpoint.set_connection(connection);
        }
    }

    /// Removes connections that are no longer configured, with their IKE SAs.
    fn drop_stale_connections(&mut self, now: Duration) {
        for id in self.connections.drop_stale() {
            self.endpoint.remove_connection(ike_time(now), id);
        }
    }

    /// Applies changed keepalive lines to existing IKE SAs.
    fn refresh_detection(&mut self) {
        let sas: Vec<_> = self.tunnels.ikes().map(|(ike, sa)| (ike, sa.connection())).collect();
        for (ike, connection) in sas {
            self.tunnels.set_timing(ike, self.connections.timing(connection));
        }
    }
}
