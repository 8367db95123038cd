//! Converts configured algorithms and modes to the types of `ike`.

use std::net::IpAddr;

use config::effective_ike::{IkeEncryption, IpsecParameters, IpsecTransform};
use config::model::{DhGroup, EspMac, Ikev2Hash, Mode};
use ike::{AdditionalExchange, Encryption, EspProposal, Group, IkeProposal, Integrity, Prf};

use crate::plan::{ManualEntry, PolicyKey};

pub(super) fn ike_proposal(proposal: &config::effective_ike::IkeProposal) -> IkeProposal {
    IkeProposal {
        encryption: proposal
            .encryption
            .iter()
            .filter_map(|cipher| match cipher {
                IkeEncryption::AesCbc(128) => Some(Encryption::AesCbc128),
                IkeEncryption::AesCbc(192) => Some(Encryption::AesCbc192),
                IkeEncryption::AesCbc(256) => Some(Encryption::AesCbc256),
                IkeEncryption::AesGcm(128) => Some(Encryption::AesGcm128),
                IkeEncryption::AesGcm(192) => Some(Encryption::AesGcm192),
                IkeEncryption::AesGcm(256) => Some(Encryption::AesGcm256),
                _ => None,
            })
            .collect(),
        integrity: proposal.integrity.iter().filter_map(|hash| integrity(*hash)).collect(),
        prf: proposal.prf.iter().filter_map(|hash| prf(*hash)).collect(),
        groups: proposal.groups.iter().filter_map(group).collect(),
        additional: proposal.additional.iter().map(additional).collect(),
    }
}

fn additional(exchange: &config::model::AdditionalExchange) -> AdditionalExchange {
    let groups = exchange.methods.iter().map(|method| match method {
        config::model::AdditionalMethod::MlKem768 => Group::MlKem768,
    });
    AdditionalExchange { number: exchange.number, groups: groups.collect(), optional: exchange.optional }
}

/// Algorithms and mode of a hand-keyed pair; `None` for a combination that ESP does not support.
pub fn manual_suite(entry: &ManualEntry, permit: &PolicyKey) -> Option<(ike::EspSuite, ike::Mode)> {
    let proposal = esp_proposals(&entry.parameters.ipsec).into_iter().next()?;
    let suite = ike::EspSuite {
        encryption: *proposal.encryption.first()?,
        integrity: proposal.integrity.first().copied(),
        esn: false,
        group: None,
    };
    let wanted = entry.parameters.ipsec.proposals.first().map(|proposal| proposal.mode).unwrap_or_default();
    let (mode, _) = mode_for(wanted, permit, entry.local, entry.parameters.peer)?;
    Some((suite, mode))
}

/// The encapsulation mode for a permit, and whether it is required. As in IOS, transport mode
/// applies only to traffic between the two endpoints; `None` where it is required and the permit
/// covers other addresses.
pub(super) fn mode_for(
    wanted: Mode,
    permit: &PolicyKey,
    local: IpAddr,
    remote: IpAddr,
) -> Option<(ike::Mode, bool)> {
    let is_host = |selectors: &[ike::TrafficSelector], address: IpAddr| {
        selectors.iter().all(|selector| (selector.start, selector.end) == (address, address))
    };
    let between_endpoints = is_host(&permit.local, local) && is_host(&permit.remote, remote);
    match wanted {
        Mode::Transport if between_endpoints => Some((ike::Mode::Transport, false)),
        Mode::TransportRequire if between_endpoints => Some((ike::Mode::Transport, true)),
        Mode::TransportRequire => None,
        Mode::Transport | Mode::Tunnel => Some((ike::Mode::Tunnel, false)),
    }
}

pub(super) fn esp_proposals(ipsec: &IpsecParameters) -> Vec<EspProposal> {
    let groups: Vec<Group> = ipsec.pfs.iter().filter_map(group).collect();
    let proposal = |encryption, integrity: Option<Integrity>, esn| EspProposal {
        encryption: vec![encryption],
        integrity: integrity.into_iter().collect(),
        groups: groups.clone(),
        esn: if esn { vec![true, false] } else { vec![false] },
    };
    ipsec
        .proposals
        .iter()
        .filter_map(|wanted| {
            let (encryption, integrity) = match wanted.transform {
                IpsecTransform::AesGcm(128) => (Encryption::AesGcm128, None),
                IpsecTransform::AesGcm(192) => (Encryption::AesGcm192, None),
                IpsecTransform::AesGcm(256) => (Encryption::AesGcm256, None),
                IpsecTransform::AesGmac(128) => (Encryption::AesGmac128, None),
                IpsecTransform::AesGmac(192) => (Encryption::AesGmac192, None),
                IpsecTransform::AesGmac(256) => (Encryption::AesGmac256, None),
                IpsecTransform::ChaCha20Poly1305 => (Encryption::ChaCha20Poly1305, None),
                IpsecTransform::AesCbc(128, mac) => (Encryption::AesCbc128, Some(esp_mac(mac)?)),
                IpsecTransform::AesCbc(192, mac) => (Encryption::AesCbc192, Some(esp_mac(mac)?)),
                IpsecTransform::AesCbc(256, mac) => (Encryption::AesCbc256, Some(esp_mac(mac)?)),
                IpsecTransform::Null(mac) => (Encryption::Null, Some(esp_mac(mac)?)),
                _ => return None,
            };
            Some(proposal(encryption, integrity, wanted.esn))
        })
        .collect()
}

fn esp_mac(mac: EspMac) -> Option<Integrity> {
    match mac {
        EspMac::Md5 => None,
        EspMac::Sha1 => Some(Integrity::HmacSha1_96),
        EspMac::Sha256 => Some(Integrity::HmacSha256_128),
        EspMac::Sha384 => Some(Integrity::HmacSha384_192),
        EspMac::Sha512 => Some(Integrity::HmacSha512_256),
    }
}

fn integrity(hash: Ikev2Hash) -> Option<Integrity> {
    match hash {
        Ikev2Hash::Md5 => None,
        Ikev2Hash::Sha1 => Some(Integrity::HmacSha1_96),
        Ikev2Hash::Sha256 => Some(Integrity::HmacSha256_128),
        Ikev2Hash::Sha384 => Some(Integrity::HmacSha384_192),
        Ikev2Hash::Sha512 => Some(Integrity::HmacSha512_256),
    }
}

fn prf(hash: Ikev2Hash) -> Option<Prf> {
    integrity(hash).map(Integrity::prf)
}

fn group(group: &DhGroup) -> Option<Group> {
    Group::from_number(group.0)
}
