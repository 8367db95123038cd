//! IKE parameters of `set ikev2-profile`.

use std::net::IpAddr;

use super::{
    Dpd, IkeKey, IkeParameters, IkePpk, KeyBytes, KeyPeer, Refusal, built_in_proposals, own_fqdn, proposal,
    sort_keys, trustpoints,
};
use crate::model::{AuthenticationMethod, Configuration, Identity, Ikev2Keyring};

pub(super) fn from_profile(configuration: &Configuration, name: &str) -> Result<IkeParameters, Refusal> {
    let place = |what: &str| format!("ikev2 profile {name} {what}");
    let Some(profile) = configuration.ikev2_profiles.get(name) else {
        return Err((place("does not exist"), "create it with \"crypto ikev2 profile\""));
    };
    if profile.remote_identities.is_empty() {
        return Err((place("has no match statement"), "type \"match identity remote address A\" in it"));
    }
    let Some(local_authentication) = profile.local_authentication else {
        return Err((place("has no local authentication"), "type \"authentication local pre-share\" in it"));
    };
    if profile.remote_authentication.is_empty() {
        return Err((
            place("has no remote authentication"),
            "type \"authentication remote pre-share\" in it",
        ));
    }
    let uses_keys = local_authentication == AuthenticationMethod::PreShare
        || profile.remote_authentication.contains(&AuthenticationMethod::PreShare);
    let keys = match &profile.keyring {
        Some(keyring) => match configuration.ikev2_keyrings.get(keyring) {
            Some(found) => keys_of(keyring, found)?,
            None => {
                return Err((
                    place(&format!("names keyring {keyring}, which does not exist")),
                    "create it with \"crypto ikev2 keyring\"",
                ));
            }
        },
        None if uses_keys => return Err((place("has no keyring"), "type \"keyring local K\" in it")),
        None => Vec::new(),
    };
    let trustpoints = trustpoints::of_profile(configuration, name, profile, local_authentication)?;
    let globals = &configuration.ikev2;
    let (proposals, proposals_of_addresses) = proposals(configuration)?;
    let local_identity = match &profile.local_identity {
        Some(Identity::Fqdn(text)) if text.is_empty() => Identity::Fqdn(own_fqdn(configuration)),
        Some(identity) => identity.clone(),
        None => Identity::Address(None),
    };
    Ok(IkeParameters {
        version: 2,
        proposals,
        proposals_of_addresses,
        local_addresses: profile.local_addresses.clone(),
        lifetime: profile.lifetime.unwrap_or(86_400),
        dpd: profile.dpd.or(globals.dpd).map(|d| Dpd { interval: d.interval, retry: d.retry, mode: d.mode }),
        local_authentication,
        remote_authentication: profile.remote_authentication.clone(),
        local_identity,
        remote_identities: profile.remote_identities.clone(),
        keys,
        signing_trustpoints: trustpoints.signing,
        trusted_trustpoints: trustpoints.trusted,
        nat_keepalive: profile.nat_keepalive.or(globals.nat_keepalive),
        give_up: configuration.isakmp.give_up,
        cookie_challenge: globals.cookie_challenge,
        fragmentation: globals.fragmentation,
        initial_contact_force: profile.initial_contact_force,
        profile: Some(name.into()),
    })
}

/// Proposals for any local address, and for specific ones.
type Proposals = (Vec<proposal::IkeProposal>, Vec<(Vec<IpAddr>, Vec<proposal::IkeProposal>)>);

/// The proposals of the configured policies, in name order; the built-in ones without a policy.
fn proposals(configuration: &Configuration) -> Result<Proposals, Refusal> {
    let (mut general, mut of_addresses) = (Vec::new(), Vec::new());
    for (policy_name, policy) in &configuration.ikev2_policies {
        let mut list = Vec::new();
        for name in &policy.proposals {
            if name == "default" && !configuration.ikev2_proposals.contains_key(name) {
                list.extend(built_in_proposals());
                continue;
            }
            let Some(found) = configuration.ikev2_proposals.get(name) else {
                return Err((
                    format!("ikev2 policy {policy_name} names proposal {name}, which does not exist"),
                    "create it with \"crypto ikev2 proposal\"",
                ));
            };
            list.extend(proposal::from_ikev2(name, found)?);
        }
        match policy.local_addresses.is_empty() {
            true => general.extend(list),
            false => of_addresses.push((policy.local_addresses.clone(), list)),
        }
    }
    if general.is_empty() && of_addresses.is_empty() {
        general = built_in_proposals();
    }
    Ok((general, of_addresses))
}

fn keys_of(name: &str, keyring: &Ikev2Keyring) -> Result<Vec<IkeKey>, Refusal> {
    let mut keys = Vec::new();
    for (peer_name, peer) in &keyring.peers {
        let place = |what: &str| format!("keyring {name} peer {peer_name} {what}");
        let (Some(local), Some(remote)) = (
            peer.key.local.as_ref().or(peer.key.remote.as_ref()),
            peer.key.remote.as_ref().or(peer.key.local.as_ref()),
        ) else {
            return Err((place("has no key"), "type \"pre-shared-key K\" there"));
        };
        let bytes = |secret| {
            KeyBytes::from_secret(secret, peer.key.hex)
                .ok_or_else(|| (place("has a key that is not hexadecimal"), "type an even number of digits"))
        };
        let (local, remote) = (bytes(local)?, bytes(remote)?);
        let ppk = match &peer.ppk {
            None => None,
            Some(ppk) => {
                let key = KeyBytes::from_secret(&ppk.key, ppk.hex);
                let key = key.ok_or_else(|| {
                    (place("has a ppk that is not hexadecimal"), "type an even number of digits")
                })?;
                Some(IkePpk { id: ppk.id.clone(), key, required: ppk.required })
            }
        };
        let identity = peer.identity.clone().or(peer.hostname.clone().map(Identity::Fqdn));
        let peers = peer.address.map(KeyPeer::Address).into_iter().chain(identity.map(KeyPeer::Identity));
        let before = keys.len();
        keys.extend(peers.map(|peer| IkeKey {
            peer,
            local: local.clone(),
            remote: remote.clone(),
            ppk: ppk.clone(),
        }));
        if keys.len() == before {
            return Err((place("has no address"), "type \"address A\" or \"identity …\" there"));
        }
    }
    sort_keys(&mut keys);
    Ok(keys)
}
