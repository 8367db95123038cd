//! The gateways of the configured peers, with the mirrored configuration.
//!
//! A mirrored peer responds to our address with the same algorithms, keys, detection and lifetimes,
//! has an identity that we accept and the mirrored access lists, and no idle timers of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use config::Configuration;
use config::effective_ike::{IkeEncryption, IkeParameters, effective_ike};
use config::model::{
    AccessList, AclLine, AclRule, CryptoMap, CryptoMapEntry, EntryBody, Identity, Ikev2Dpd, Ikev2Encryption,
    Ikev2Key, Ikev2Keyring, Ikev2Policy, Ikev2Profile, Ikev2Proposal, InterfaceName, Keying, KeyringPeer,
    KeyringPpk, Peer, PeerName, Prefix, Profile, RemoteIdentity, Secret,
};
use controlplane::plan::{Device, Devices};
use sa_table::Capacities;

use super::{PeerFact, PredictError};
use crate::gateway::Setup;

/// Names of the objects that a mirrored configuration adds.
const MIRROR: &str = "mirror";

/// Capacities of the gateways of a prediction.
const ROOM: Capacities = Capacities {
    inbound_slots: 256,
    outbound_slots: 256,
    policies: 1024,
    arena_words: 1 << 16,
    workers: 1,
    replay_words: 64,
    ring_entries: 64,
    checkpoint_words: 1 << 16,
};

/// The gateway and its peers, ready to be simulated.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// The gateway first, then one for each address of [`Mirrored::addresses`].
    pub setups: Vec<Setup>,
    /// The peers' addresses.
    pub addresses: Vec<IpAddr>,
    /// The peers as configured.
    pub peers: Vec<PeerFact>,
    /// Addresses of names.
    pub zone: BTreeMap<String, Vec<IpAddr>>,
    /// Assumptions.
    pub assumptions: Vec<String>,
}

/// A usable entry and its peers.
struct Named<'a> {
    map: &'a str,
    seq: u16,
    entry: &'a CryptoMapEntry,
    ike: IkeParameters,
}

/// Creates the network of a configuration.
///
/// # Errors
/// If no interface or several have a crypto map, or no entry is usable.
pub fn mirror(configuration: &Configuration) -> Result<Mirrored, PredictError> {
    let nothing = |text: &str| PredictError::Nothing(text.to_owned());
    let mut assumptions =
        vec!["20 to 25 ms each way between the gateways; nothing is lost but what the events say".to_owned()];
    let mut applied = configuration.interfaces.iter().filter(|(_, interface)| interface.crypto_map.is_some());
    let (name, interface) = applied.next().ok_or_else(|| {
        nothing("no interface has a crypto map; type \"crypto map M\" under the interface toward the peers")
    })?;
    if applied.next().is_some() {
        return Err(nothing("crypto maps are on several interfaces; leave the one that is to be simulated"));
    }
    let map = interface.crypto_map.as_deref().unwrap_or_default();
    let set = configuration.crypto_maps.get(map).ok_or_else(|| {
        nothing("the crypto map of the interface does not exist; create it with \"crypto map\"")
    })?;
    let devices = devices(configuration, &mut assumptions);
    let local = set.local_address.as_ref().and_then(|name| devices.get(name)).or(devices.get(name));
    let local = local.and_then(|device| device.addresses.first().copied()).ok_or_else(|| {
        nothing("the interface with the crypto map has no address; type \"ip address\" there")
    })?;

    let mut entries = Vec::new();
    for (seq, entry) in
        set.entries.iter().filter(|(_, entry)| entry.keying == Keying::Isakmp && entry.is_complete())
    {
        match effective_ike(configuration, map, *seq, entry) {
            Ok(ike) => entries.push(Named { map, seq: *seq, entry, ike }),
            Err(refusal) => assumptions.push(format!("left out: {refusal}")),
        }
    }
    if entries.is_empty() {
        return Err(nothing("the crypto map has no usable entry; see the output of \"tohub check\""));
    }

    let (peers, zone) = peers(configuration, &entries, &mut assumptions);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for peer in &peers {
        if !addresses.contains(&peer.address) {
            addresses.push(peer.address);
        }
    }
    if addresses.contains(&local) {
        return Err(nothing("a peer has the gateway's own address; correct \"set peer\" or \"ip address\""));
    }
    assumptions.push("the peers have the mirrored configuration, and no idle timer of their own".to_owned());
    let mut ours = configuration.clone();
    ours.ipsec.logging_session = true;
    let gateway = Setup {
        name: configuration.system.hostname.clone(),
        address: local,
        configuration: ours,
        devices,
        capacities: ROOM,
    };
    let mirrors =
        addresses.iter().map(|address| peer_setup(configuration, &entries, &peers, local, *address));
    let setups = std::iter::once(gateway).chain(mirrors).collect();
    Ok(Mirrored { setups, addresses, peers, zone, assumptions })
}

/// Every configured interface with its addresses; one with a dynamic address gets a documentation
/// address.
fn devices(configuration: &Configuration, assumptions: &mut Vec<String>) -> Devices {
    let interfaces = (1u8..).zip(&configuration.interfaces);
    interfaces
        .map(|(number, (name, interface))| {
            let mut addresses: Vec<IpAddr> = interface.addresses.iter().map(|a| a.address).collect();
            if addresses.is_empty() && (interface.dhcp || interface.crypto_map.is_some()) {
                let address = Ipv4Addr::new(192, 0, 2, number);
                assumptions.push(format!("{name} has the address {address}"));
                addresses.push(address.into());
            }
            let mtu = interface.mtu.map_or(1500, u32::from);
            (name.clone(), Device { ifindex: u32::from(number) + 1, mtu, addresses, up: true })
        })
        .collect()
}

fn peers(
    configuration: &Configuration,
    entries: &[Named<'_>],
    assumptions: &mut Vec<String>,
) -> (Vec<PeerFact>, BTreeMap<String, Vec<IpAddr>>) {
    let mut peers: Vec<PeerFact> = Vec::new();
    let mut zone = BTreeMap::new();
    for peer in entries.iter().flat_map(|named| &named.entry.body.peers) {
        let (name, address) = match &peer.name {
            PeerName::Address(address) => (address.to_string(), *address),
            PeerName::Host { name, .. } => {
                let name = name.to_ascii_lowercase();
                let system = &configuration.system;
                let long = system
                    .domain_name
                    .as_ref()
                    .map(|domain| format!("{name}.{}", domain.to_ascii_lowercase()));
                let known = system.hosts.get(&name).or_else(|| system.hosts.get(&long?));
                let number = u8::try_from(zone.len() + 1).unwrap_or(u8::MAX);
                let address = known.and_then(|known| known.first().copied()).unwrap_or_else(|| {
                    let address = Ipv4Addr::new(198, 18, 0, number).into();
                    assumptions.push(format!("{name} resolves to {address}, 30 ms after it is asked for"));
                    address
                });
                zone.insert(name.clone(), vec![address]);
                (name, address)
            }
        };
        match peers.iter_mut().find(|known| known.name == name) {
            Some(known) => known.default |= peer.default,
            None => peers.push(PeerFact { name, address, default: peer.default }),
        }
    }
    (peers, zone)
}

fn peer_setup(
    ours: &Configuration,
    entries: &[Named<'_>],
    peers: &[PeerFact],
    local: IpAddr,
    address: IpAddr,
) -> Setup {
    let mut theirs = Configuration::default();
    let fact = peers.iter().find(|peer| peer.address == address);
    theirs.system.hostname = fact.map_or_else(|| address.to_string(), |peer| peer.name.clone());
    theirs.transform_sets = ours.transform_sets.clone();
    theirs.ipsec = ours.ipsec.clone();
    theirs.ipsec.idle_seconds = None;
    theirs.isakmp.give_up = ours.isakmp.give_up;
    let mut set = CryptoMap::default();
    for named in entries {
        let names_us = |peer: &Peer| {
            let name = peer.name.to_string().to_ascii_lowercase();
            peers.iter().any(|fact| fact.address == address && fact.name == name)
        };
        if let Some(peer) = named.entry.body.peers.iter().find(|peer| names_us(peer)) {
            mirror_entry(ours, &mut theirs, &mut set, named, peer, (local, address));
        }
    }
    theirs.crypto_maps.insert(MIRROR.to_owned(), set);
    let mut devices = Devices::new();
    if let Some(name) = InterfaceName::parse("GigabitEthernet0/1") {
        let interface = theirs.interfaces.entry(name.clone()).or_default();
        interface.device = Some(MIRROR.to_owned());
        interface.crypto_map = Some(MIRROR.to_owned());
        devices.insert(name, Device { ifindex: 3, mtu: 1500, addresses: vec![address], up: true });
    }
    Setup { name: theirs.system.hostname.clone(), address, configuration: theirs, devices, capacities: ROOM }
}

fn mirror_entry(
    ours: &Configuration,
    theirs: &mut Configuration,
    set: &mut CryptoMap,
    named: &Named<'_>,
    peer: &Peer,
    (local, address): (IpAddr, IpAddr),
) {
    let name = format!("{MIRROR}-{}-{}", named.map, named.seq);
    let body = &named.entry.body;
    if let Some(list) = body.match_address.as_ref().and_then(|list| ours.access_lists.get(list)) {
        theirs.access_lists.insert(name.clone(), mirror_list(list));
    }
    let host = match &peer.name {
        PeerName::Host { name, .. } => Some(Identity::Fqdn(name.to_ascii_lowercase())),
        PeerName::Address(_) => None,
    };
    let hex = |bytes: &[u8]| Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let ours_for_it = named.ike.key_for(address, host.as_ref());
    let key = ours_for_it.map(|key| Ikev2Key {
        local: Some(hex(key.remote.expose())),
        remote: Some(hex(key.local.expose())),
        hex: true,
    });
    let ppk = ours_for_it.and_then(|key| key.ppk.as_ref()).map(|ppk| KeyringPpk {
        id: ppk.id.clone(),
        key: hex(ppk.key.expose()),
        hex: true,
        required: ppk.required,
    });
    let whole = if local.is_ipv4() { 32 } else { 128 };
    let keyring_peer = KeyringPeer {
        address: Some(Prefix { address: local, length: whole }),
        key: key.unwrap_or_default(),
        ppk,
        ..KeyringPeer::default()
    };
    let keyring = Ikev2Keyring { peers: BTreeMap::from([(MIRROR.to_owned(), keyring_peer)]) };
    theirs.ikev2_keyrings.insert(name.clone(), keyring);
    let policy = theirs.ikev2_policies.entry(MIRROR.to_owned()).or_default();
    mirror_proposals(&named.ike, policy, &mut theirs.ikev2_proposals);
    let profile = Ikev2Profile {
        remote_identities: vec![RemoteIdentity::Any],
        local_identity: identity_for(&named.ike, address),
        local_authentication: named.ike.remote_authentication.first().copied(),
        remote_authentication: vec![named.ike.local_authentication],
        keyring: Some(name.clone()),
        lifetime: Some(named.ike.lifetime),
        dpd: named.ike.dpd.map(|dpd| Ikev2Dpd { interval: dpd.interval, retry: dpd.retry, mode: dpd.mode }),
        ..Ikev2Profile::default()
    };
    theirs.ikev2_profiles.insert(name.clone(), profile);
    let mirrored = EntryBody {
        peers: vec![Peer { name: PeerName::Address(local), default: false }],
        match_address: Some(name.clone()),
        idle: None,
        profile: Some(Profile::Ikev2(name)),
        reverse_route: None,
        kept: Vec::new(),
        ..body.clone()
    };
    set.entries
        .insert(named.seq, CryptoMapEntry { keying: Keying::Isakmp, template_profile: None, body: mirrored });
}

/// The identity that the peer must have to be accepted.
fn identity_for(ike: &IkeParameters, address: IpAddr) -> Option<Identity> {
    let acceptable = |wanted: &RemoteIdentity| match wanted {
        RemoteIdentity::Any => Some(Identity::Address(None)),
        RemoteIdentity::Address(prefix) => prefix.contains(address).then_some(Identity::Address(None)),
        RemoteIdentity::Fqdn(name) => Some(Identity::Fqdn(name.clone())),
        RemoteIdentity::FqdnDomain(domain) => {
            Some(Identity::Fqdn(format!("peer.{}", domain.trim_start_matches('.'))))
        }
        RemoteIdentity::Email(text) => Some(Identity::Email(text.clone())),
        RemoteIdentity::KeyId(text) => Some(Identity::KeyId(text.clone())),
        // It needs a certificate, which the simulation does not have.
        RemoteIdentity::Dn(_) => None,
    };
    ike.remote_identities.iter().find_map(acceptable)
}

fn mirror_proposals(
    ike: &IkeParameters,
    policy: &mut Ikev2Policy,
    proposals: &mut BTreeMap<String, Ikev2Proposal>,
) {
    let of_addresses = ike.proposals_of_addresses.iter().flat_map(|(_, proposals)| proposals);
    for proposal in ike.proposals.iter().chain(of_addresses) {
        let encryption = proposal.encryption.iter().map(|cipher| match cipher {
            IkeEncryption::AesCbc(bits) => Ikev2Encryption::AesCbc(*bits),
            IkeEncryption::AesGcm(bits) => Ikev2Encryption::AesGcm(*bits),
        });
        let mirrored = Ikev2Proposal {
            encryption: encryption.collect(),
            integrity: proposal.integrity.clone(),
            prf: proposal.prf.clone(),
            groups: proposal.groups.clone(),
            additional: proposal.additional.clone(),
        };
        if !proposals.values().any(|known| *known == mirrored) {
            let name = format!("{MIRROR}-{}", proposals.len());
            proposals.insert(name.clone(), mirrored);
            policy.proposals.push(name);
        }
    }
}

fn mirror_list(list: &AccessList) -> AccessList {
    let mirrored = list.rules().map(|(number, rule)| {
        let rule = AclRule {
            source: rule.destination,
            source_port: rule.destination_port,
            destination: rule.source,
            destination_port: rule.source_port,
            ..*rule
        };
        AclLine::Rule(number, rule)
    });
    AccessList { lines: mirrored.collect() }
}
