//! Taking over a configuration: first what is new, then what is switched over, then what goes. SAs
//! whose entry and permit stay are not touched.

use std::time::Duration;

use config::Configuration;

use super::Gateway;
use crate::clock::ike_time;
use crate::pki::Pki;
use crate::plan::{Devices, EntryKey, Plan};
use crate::report::Message;
use crate::room::{NoRoom, demand};
use crate::settings::endpoint_config;

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

impl Gateway {
    /// Makes `configuration`, on these devices, the running one. Called at the start and whenever a
    /// device or an address of it changes. What does not fit into the table is dropped.
    pub fn configure(&mut self, now: Duration, configuration: Configuration, devices: Devices) {
        if let Some(memory) = self.checkpoint.previous() {
            self.dynamic.restore(memory.derived());
        }
        let plan = self.compile(&configuration, &devices);
        self.take_over(now, configuration, devices, plan);
    }

    /// Compiles an edited configuration, for [`Gateway::configure_admitted`], if the shared
    /// segments can hold it.
    ///
    /// # Errors
    /// What has no room; the running configuration stays as it is.
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

    /// Whether the shared segments are large enough for a configuration, whatever devices and
    /// addresses there will be.
    ///
    /// # Errors
    /// What has no room.
    pub fn check_room(&self, configuration: &Configuration) -> Result<(), NoRoom> {
        Ok(self.tables.capacities().check_room(&demand(configuration, self.dynamic.derived()))?)
    }

    /// Makes an edited configuration the running one, on the devices that there are.
    pub fn configure_admitted(&mut self, now: Duration, admitted: Admitted) {
        let devices = self.devices.clone();
        self.take_over(now, admitted.configuration, devices, admitted.plan);
    }

    /// Permits that found no policy while the data plane still used those of former permits get one
    /// as soon as there are enough.
    pub(super) fn number_the_rest(&mut self, now: Duration) {
        let missing = self.plan.unnumbered;
        if missing > 0 && self.tables.free_policies() >= missing {
            self.configure(now, self.configuration.clone(), self.devices.clone());
        }
    }

    /// Compiles a configuration with what is derived from it and what open edits began with.
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

    /// Takes over certificates, keys and CRLs; before [`Gateway::configure`] if both change. IKE
    /// SAs that are up stay.
    pub fn set_pki(&mut self, pki: Pki) {
        for trouble in &pki.troubles {
            if !self.pki.troubles.contains(trouble) {
                self.report.trouble(trouble);
            }
        }
        self.pki = pki;
    }

    /// The same while the configuration stays: a CRL file has changed.
    pub fn renew_pki(&mut self, now: Duration, pki: Pki) {
        self.set_pki(pki);
        self.refresh_connections(now);
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
        self.tables.is_current()
    }

    /// Publishes ports and rules; while the last publication is still being taken over, the next
    /// tick does it. False if they do not fit; the last ones stay in force.
    pub(super) fn publish(&mut self) -> bool {
        match self.tables.publish(&self.plan.ports, &self.plan.rules, &self.plan.filters) {
            Ok(()) => true,
            Err(error) => {
                self.report.trouble(error);
                false
            }
        }
    }

    /// A peer's name got another address, or certificates changed: only the connections change.
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

    /// The entry is gone, or its map was taken off the interface: its SAs are deleted, the peers
    /// told.
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

    /// Hands new and changed connections to the endpoint. `reports` says why there is none for a
    /// peer.
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

    /// Removes connections that nothing names any more, with their IKE SAs.
    fn drop_stale_connections(&mut self, now: Duration) {
        for id in self.connections.drop_stale() {
            self.endpoint.remove_connection(ike_time(now), id);
        }
    }

    /// Keepalive lines take effect on IKE SAs that exist.
    fn refresh_detection(&mut self) {
        let sas: Vec<_> = self.tunnels.ikes().map(|(ike, sa)| (ike, sa.connection())).collect();
        for (ike, connection) in sas {
            self.tunnels.set_timing(ike, self.connections.timing(connection));
        }
    }
}
