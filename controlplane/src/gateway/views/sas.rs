//! IKE SAs and SA pairs for `show`.

use std::net::IpAddr;
use std::time::Duration;

use config::command::Filter;
use config::render_show::{
    FlowCounters, FlowLife, Ident, IkeSessionView, Ikev2SaView, InterfaceSasView, IpsecFlowView, IpsecSaView,
    IsakmpSaView, SessionFlowView,
};
use ike::{ChildId, IkeInfo};
use sa_table::PolicyId;

use super::text;
use crate::connections::manual_suite;
use crate::gateway::Gateway;
use crate::peers::session::Session;
use crate::plan::{EntryKey, ManualEntry, Peer};
use crate::routes::prefixes;
use crate::tables::Activity;
use crate::tunnels::SaPair;

/// Maximum ESP overhead: outer IPv4, UDP, SPI and sequence number, IV, padding, trailer, ICV.
/// Without a suite, that of AES-GCM.
fn overhead(suite: Option<&ike::EspSuite>) -> u32 {
    let (iv, padding, icv) = match suite {
        Some(suite) => {
            let block = if matches!(iv_size(suite), 16) { 16 } else { 4 };
            let icv = suite.integrity.map_or(16, |integrity| integrity.icv_len() as u32);
            (u32::from(iv_size(suite)), block - 1, icv)
        }
        None => (8, 3, 16),
    };
    20 + 8 + 8 + iv + padding + 2 + icv
}

/// Size of the IV in octets.
fn iv_size(suite: &ike::EspSuite) -> u8 {
    match suite.encryption {
        ike::Encryption::Null => 0,
        encryption if encryption.is_aead() => 8,
        _ => 16,
    }
}

impl Gateway {
    /// The newest IKE SA with an address; established ones are preferred.
    pub(super) fn newest_ike(&self, address: IpAddr) -> Option<IkeInfo> {
        self.ike_info(self.tunnels.newest_ike_with(address)?)
    }

    pub(super) fn ike_session_view(&self, now: Duration, info: &IkeInfo) -> IkeSessionView {
        IkeSessionView {
            version: 2,
            local: (info.local.ip(), info.local.port()),
            remote: (info.remote.ip(), info.remote.port()),
            active: info.established,
            capabilities: self.capabilities(info),
            connection_id: u32::try_from(info.ike.0).unwrap_or(u32::MAX),
            lifetime_left: Self::seconds_until(now, info.hard_limit),
        }
    }

    fn capabilities(&self, info: &IkeInfo) -> String {
        let detection = self.connections.timing(info.connection).is_some();
        let letters = [(detection, 'D'), (info.nat_local || info.nat_remote, 'N'), (info.fragmentation, 'F')];
        letters.into_iter().filter(|(present, _)| *present).map(|(_, letter)| letter).collect()
    }

    pub(super) fn session_flows(
        &self,
        now: Duration,
        key: &EntryKey,
        session: &Session,
        peer: &Peer,
    ) -> Vec<SessionFlowView> {
        let Some(entry) = self.plan.entries.get(key) else { return Vec::new() };
        let flow = |policy: &PolicyId| {
            let permit = self.plan.policies.get(policy)?;
            let pairs: Vec<(ChildId, &SaPair)> = session
                .pairs()
                .filter(|(_, pair)| pair.policy == *policy && pair.peer == *peer)
                .filter_map(|(id, _)| Some((id, self.tunnels.pair(id)?)))
                .collect();
            let newest = pairs.last();
            let activity = newest.and_then(|(id, _)| self.tables.activity(*id)).unwrap_or_default();
            let seconds_left = newest.map_or(0, |(_, record)| seconds_left(now, record));
            let volume = entry.ipsec.lifetime_kilobytes;
            let life = |packets, bytes: u64| FlowLife {
                packets,
                drops: 0,
                kilobytes_left: volume.map(|limit| u64::from(limit).saturating_sub(bytes / 1024)),
                seconds_left,
            };
            Some(SessionFlowView {
                local: ident(&permit.local)?,
                remote: ident(&permit.remote)?,
                active_sas: u32::try_from(pairs.len() * 2).unwrap_or(u32::MAX),
                dynamic: entry.template.is_some(),
                inbound: life(activity.packets_in, activity.bytes_in),
                outbound: life(activity.packets_out, activity.bytes_out),
            })
        };
        entry.policies.iter().filter_map(flow).collect()
    }

    pub(super) fn ikev2_views(&self, now: Duration, filter: &Filter) -> Vec<Ikev2SaView> {
        let infos = self.tunnels.ikes().filter_map(|(ike, _)| self.ike_info(ike)).filter(|info| {
            filter.local.is_none_or(|local| info.local.ip() == local)
                && filter.remote.is_none_or(|remote| info.remote.ip() == remote)
        });
        (1..).zip(infos).map(|(tunnel_id, info)| self.ikev2_view(now, tunnel_id, &info)).collect()
    }

    fn ikev2_view(&self, now: Duration, tunnel_id: u32, info: &IkeInfo) -> Ikev2SaView {
        let relation = self.connections.get(info.connection);
        let (encryption, key_size) = info.suite.map_or(("", 0), |suite| text::ike_cipher(suite.encryption));
        let prf = info.suite.map_or("", |suite| text::hash(suite.prf));
        let dpd = relation.and_then(|relation| relation.ike.dpd);
        Ikev2SaView {
            tunnel_id,
            local: (info.local.ip(), info.local.port()),
            remote: (info.remote.ip(), info.remote.port()),
            status: if info.established { "READY" } else { "IN-NEG" }.to_owned(),
            encryption: encryption.to_owned(),
            key_size,
            prf: prf.to_owned(),
            hash: info
                .suite
                .and_then(|suite| suite.integrity)
                .map_or("None", |i| text::hash(i.prf()))
                .to_owned(),
            group: info.suite.map_or(0, |suite| suite.group.number()),
            auth_sign: text::authentication(info.local_method).to_owned(),
            auth_verify: text::authentication(info.remote_method).to_owned(),
            lifetime: relation.map_or(0, |relation| relation.ike.lifetime),
            active: crate::clock::ike_time(now).since(info.since).as_secs(),
            session_id: tunnel_id,
            local_spi: info.local_spi,
            remote_spi: info.remote_spi,
            status_description: if info.established { "Negotiation done" } else { "Negotiating" }.to_owned(),
            local_id: info.local_identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            remote_id: info.remote_identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            local_message_id: 0,
            remote_message_id: 0,
            window: 1,
            dpd: dpd.map(|dpd| (dpd.interval, dpd.retry)),
            fragmentation: info.fragmentation,
            nat: info.nat_local || info.nat_remote,
            initiator: info.initiator,
        }
    }

    pub(super) fn isakmp_views(&self, now: Duration) -> Vec<IsakmpSaView> {
        let infos = self.tunnels.ikes().filter_map(|(ike, _)| self.ike_info(ike));
        infos
            .map(|info| {
                let (initiator, responder) = if info.initiator {
                    (info.local.ip(), info.remote.ip())
                } else {
                    (info.remote.ip(), info.local.ip())
                };
                let (encryption, _) = info.suite.map_or(("", 0), |suite| text::ike_cipher(suite.encryption));
                IsakmpSaView {
                    destination: responder,
                    source: initiator,
                    state: if info.established { "QM_IDLE" } else { "MM_NO_STATE" }.to_owned(),
                    connection_id: u32::try_from(info.ike.0).unwrap_or(0).saturating_add(1000),
                    deleted: false,
                    encryption: encryption.to_ascii_lowercase(),
                    hash: info.suite.map_or("", |suite| text::hash(suite.prf)).to_ascii_lowercase(),
                    authentication: "psk".to_owned(),
                    group: info.suite.map_or(0, |suite| suite.group.number()),
                    lifetime_left: Self::seconds_until(now, info.hard_limit),
                    capabilities: self.capabilities(&info),
                }
            })
            .collect()
    }

    pub(super) fn ipsec_views(&self, now: Duration, filter: &Filter) -> Vec<InterfaceSasView> {
        let mut views: Vec<InterfaceSasView> = Vec::new();
        for (key, entry) in &self.plan.entries {
            let wrong_map = filter.map.as_ref().is_some_and(|map| *map != key.map);
            if wrong_map || filter.interface.as_ref().is_some_and(|interface| *interface != key.interface) {
                continue;
            }
            let Some(session) = self.peers.session(key) else { continue };
            let flows = entry
                .policies
                .iter()
                .filter_map(|policy| self.ipsec_flow(now, key, session, *policy))
                .filter(|flow| {
                    filter.remote.is_none_or(|remote| flow.peer.is_some_and(|peer| peer.0 == remote))
                });
            let interface = key.interface.to_string();
            match views.iter_mut().find(|view| view.interface == interface && view.map == key.map) {
                Some(view) => view.flows.extend(flows),
                None => views.push(InterfaceSasView {
                    interface,
                    mtu: entry.mtu,
                    map: key.map.clone(),
                    local_address: entry.local,
                    flows: flows.collect(),
                }),
            }
        }
        for (key, entry) in &self.plan.manual {
            let unwanted = filter.map.as_ref().is_some_and(|map| *map != key.map)
                || filter.interface.as_ref().is_some_and(|interface| *interface != key.interface)
                || filter.remote.is_some_and(|remote| remote != entry.parameters.peer);
            let Some(flow) = self.manual_flow(entry).filter(|_| !unwanted) else { continue };
            let interface = key.interface.to_string();
            match views.iter_mut().find(|view| view.interface == interface && view.map == key.map) {
                Some(view) => view.flows.push(flow),
                None => views.push(InterfaceSasView {
                    interface,
                    mtu: entry.mtu,
                    map: key.map.clone(),
                    local_address: entry.local,
                    flows: vec![flow],
                }),
            }
        }
        views
    }

    /// The flow of a hand-keyed entry; without keys.
    fn manual_flow(&self, entry: &ManualEntry) -> Option<IpsecFlowView> {
        let permit = self.plan.policies.get(&entry.policy)?;
        let (suite, mode) = manual_suite(entry, permit)?;
        let activity = self.tables.manual_activity(entry.policy);
        let sa = |spi: u32, outbound: bool| IpsecSaView {
            spi,
            transform: text::transform(&suite),
            transport: mode == ike::Mode::Transport,
            udp: false,
            connection_id: connection_id(ChildId(entry.policy.0.into()), outbound),
            kilobytes_left: None,
            seconds_left: 0,
            iv_size: iv_size(&suite),
            replay_window: None,
        };
        let counted = activity.unwrap_or_default();
        let sas = |spi, outbound| activity.is_some().then(|| sa(spi, outbound)).into_iter().collect();
        Some(IpsecFlowView {
            local_ident: ident(&permit.local)?,
            remote_ident: ident(&permit.remote)?,
            peer: Some((entry.parameters.peer, 500)),
            counters: counters(&counted),
            local_endpoint: entry.local,
            path_mtu: entry.mtu,
            plaintext_mtu: entry.mtu.saturating_sub(overhead(Some(&suite))),
            pfs_group: None,
            inbound: sas(entry.parameters.inbound.spi, false),
            outbound: sas(entry.parameters.outbound.spi, true),
        })
    }

    fn ipsec_flow(
        &self,
        now: Duration,
        key: &EntryKey,
        session: &Session,
        policy: PolicyId,
    ) -> Option<IpsecFlowView> {
        let entry = self.plan.entries.get(key)?;
        let permit = self.plan.policies.get(&policy)?;
        let carrier = session.outbound(policy);
        let mut pairs: Vec<(ChildId, &SaPair)> =
            self.tunnels.pairs().filter(|(_, pair)| pair.policy() == policy).collect();
        pairs.sort_by_key(|(id, _)| (Some(*id) != carrier, std::cmp::Reverse(*id)));
        let peer = pairs
            .first()
            .map(|(_, record)| record.facts().remote)
            .or_else(|| session.selection().displayed().and_then(|peer| self.address_for(key, peer)));
        let total = pairs.iter().filter_map(|(id, _)| self.tables.activity(*id)).fold(
            Activity::default(),
            |sum, one| Activity {
                packets_in: sum.packets_in + one.packets_in,
                packets_out: sum.packets_out + one.packets_out,
                verify_failed: sum.verify_failed + one.verify_failed,
                replayed: sum.replayed + one.replayed,
                wrong_selector: sum.wrong_selector + one.wrong_selector,
                malformed: sum.malformed + one.malformed,
                ..sum
            },
        );
        let sa = |(id, record): &(ChildId, &SaPair), spi: u32, outbound: bool| {
            let activity = self.tables.activity(*id).unwrap_or_default();
            let bytes = if outbound { activity.bytes_out } else { activity.bytes_in };
            let volume = entry.ipsec.lifetime_kilobytes;
            IpsecSaView {
                spi,
                transform: text::transform(&record.facts().suite),
                transport: record.facts().mode == ike::Mode::Transport,
                udp: record.facts().udp.is_some(),
                connection_id: connection_id(*id, outbound),
                kilobytes_left: volume.map(|limit| u64::from(limit).saturating_sub(bytes / 1024)),
                seconds_left: seconds_left(now, record),
                iv_size: iv_size(&record.facts().suite),
                replay_window: entry.ipsec.replay_window,
            }
        };
        let newest = pairs.first().map(|(_, record)| record.facts());
        Some(IpsecFlowView {
            local_ident: ident(newest.map_or(&permit.local, |facts| &facts.local_selectors))?,
            remote_ident: ident(newest.map_or(&permit.remote, |facts| &facts.remote_selectors))?,
            peer: peer
                .map(|address| (address, self.newest_ike(address).map_or(500, |info| info.remote.port()))),
            counters: counters(&total),
            local_endpoint: entry.local,
            path_mtu: entry.mtu,
            plaintext_mtu: entry.mtu.saturating_sub(overhead(newest.map(|facts| &facts.suite))),
            pfs_group: pairs
                .first()
                .and_then(|(_, record)| record.facts().suite.group)
                .map(ike::Group::number),
            inbound: pairs.iter().map(|pair| sa(pair, pair.1.facts().inbound_spi, false)).collect(),
            outbound: pairs.iter().map(|pair| sa(pair, pair.1.facts().outbound_spi, true)).collect(),
        })
    }
}

fn counters(activity: &Activity) -> FlowCounters {
    FlowCounters {
        encrypted: activity.packets_out,
        decrypted: activity.packets_in,
        receive_errors: activity.verify_failed
            + activity.replayed
            + activity.wrong_selector
            + activity.malformed,
        verify_failed: activity.verify_failed,
        invalid_identity: activity.wrong_selector,
        invalid_length: activity.malformed,
        replay_failed: activity.replayed,
        ..FlowCounters::default()
    }
}

/// A small number for one half of a pair; the IDs of adopted pairs have high bits set.
fn connection_id(pair: ChildId, outbound: bool) -> u32 {
    let number = u32::try_from(pair.0 & 0x3fff_ffff).unwrap_or(0);
    number * 2 + u32::from(outbound)
}

fn seconds_left(now: Duration, record: &SaPair) -> u64 {
    record.facts().hard_limit.map_or(0, |limit| limit.saturating_sub(now).as_secs())
}

/// The first selector of a permit as a network; a range that is not a prefix is shown by its first
/// prefix.
fn ident(selectors: &[ike::TrafficSelector]) -> Option<Ident> {
    let first = selectors.first()?;
    let prefix = prefixes(first.start, first.end).into_iter().next()?;
    Some(Ident {
        address: prefix.address,
        length: prefix.length,
        protocol: first.protocol,
        port: if first.start_port == first.end_port { first.start_port } else { 0 },
    })
}
