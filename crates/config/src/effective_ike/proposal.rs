//! IKE proposals from ISAKMP policies and IKEv2 proposals, and the built-in ones.

use crate::model::{AdditionalExchange, DhGroup, Ikev2Encryption, Ikev2Hash, Ikev2Proposal, IsakmpHash};

/// Cipher of an IKE proposal, key length in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkeEncryption {
    /// AES-CBC.
    AesCbc(u16),
    /// AES-GCM with a 16-byte ICV.
    AesGcm(u16),
}

/// A proposal of IKE_SA_INIT. Combined and other ciphers are never in one proposal (RFC 7296 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// Ciphers in order of preference.
    pub encryption: Vec<IkeEncryption>,
    /// Integrity algorithms; empty if and only if the ciphers are combined ones.
    pub integrity: Vec<Ikev2Hash>,
    /// PRFs.
    pub prf: Vec<Ikev2Hash>,
    /// Diffie-Hellman groups.
    pub groups: Vec<DhGroup>,
    /// Additional key exchanges.
    pub additional: Vec<AdditionalExchange>,
}

/// The proposals in use when no policy is configured.
pub fn built_in_proposals() -> Vec<IkeProposal> {
    let groups: Vec<DhGroup> = [19, 20, 31, 14].map(DhGroup).to_vec();
    vec![
        IkeProposal {
            encryption: vec![IkeEncryption::AesGcm(256), IkeEncryption::AesGcm(128)],
            integrity: Vec::new(),
            prf: vec![Ikev2Hash::Sha384, Ikev2Hash::Sha256],
            groups: groups.clone(),
            additional: Vec::new(),
        },
        IkeProposal {
            encryption: vec![IkeEncryption::AesCbc(256)],
            integrity: vec![Ikev2Hash::Sha256],
            prf: vec![Ikev2Hash::Sha256],
            groups,
            additional: Vec::new(),
        },
    ]
}

const GROUP_REMEDY: &str = "type \"group 19\" (or 14, 15, 16, 20, 21) there";
const HASH_REMEDY: &str = "type \"hash sha256\" in that policy";

pub(super) fn from_isakmp(
    bits: u16,
    hash: IsakmpHash,
    group: DhGroup,
) -> Result<IkeProposal, super::Refusal> {
    let hash = match hash {
        IsakmpHash::Md5 => return Err(("MD5".into(), HASH_REMEDY)),
        IsakmpHash::Sha1 => Ikev2Hash::Sha1,
        IsakmpHash::Sha256 => Ikev2Hash::Sha256,
        IsakmpHash::Sha384 => Ikev2Hash::Sha384,
        IsakmpHash::Sha512 => Ikev2Hash::Sha512,
    };
    if group.is_weak() {
        return Err((format!("group {}", group.0), GROUP_REMEDY));
    }
    Ok(IkeProposal {
        encryption: vec![IkeEncryption::AesCbc(bits)],
        integrity: vec![hash],
        prf: vec![hash],
        groups: vec![group],
        additional: Vec::new(),
    })
}

/// One or two proposals: combined ciphers are separated from others.
pub(super) fn from_ikev2(name: &str, proposal: &Ikev2Proposal) -> Result<Vec<IkeProposal>, super::Refusal> {
    let place = |what: &str| format!("ikev2 proposal {name} {what}");
    if proposal.encryption.is_empty() || proposal.groups.is_empty() {
        return Err((
            place("is incomplete"),
            "give it \"encryption\", \"group\" and \"integrity\" or \"prf\"",
        ));
    }
    if let Some(group) = proposal.groups.iter().find(|group| group.is_weak()) {
        return Err((place(&format!("uses group {}", group.0)), GROUP_REMEDY));
    }
    if proposal.integrity.iter().chain(&proposal.prf).any(|hash| *hash == Ikev2Hash::Md5) {
        return Err((place("uses MD5"), "type \"integrity sha256\" and \"prf sha256\" there"));
    }
    let (mut plain, mut combined) = (Vec::new(), Vec::new());
    for cipher in &proposal.encryption {
        match cipher {
            Ikev2Encryption::Des => return Err((place("uses DES"), "type \"encryption aes-gcm-256\" there")),
            Ikev2Encryption::TripleDes => {
                return Err((place("uses 3DES"), "type \"encryption aes-gcm-256\" there"));
            }
            Ikev2Encryption::AesCbc(bits) => plain.push(IkeEncryption::AesCbc(*bits)),
            Ikev2Encryption::AesGcm(bits) => combined.push(IkeEncryption::AesGcm(*bits)),
        }
    }
    let prf = if proposal.prf.is_empty() { &proposal.integrity } else { &proposal.prf };
    let mut proposals = Vec::new();
    if !combined.is_empty() {
        if prf.is_empty() {
            return Err((place("has aes-gcm without a prf"), "type \"prf sha256\" there"));
        }
        let (prf, groups) = (prf.clone(), proposal.groups.clone());
        let additional = proposal.additional.clone();
        proposals.push(IkeProposal { encryption: combined, integrity: Vec::new(), prf, groups, additional });
    }
    if !plain.is_empty() {
        if proposal.integrity.is_empty() {
            return Err((place("has aes-cbc without integrity"), "type \"integrity sha256\" there"));
        }
        let (integrity, prf) = (proposal.integrity.clone(), prf.clone());
        let (groups, additional) = (proposal.groups.clone(), proposal.additional.clone());
        proposals.push(IkeProposal { encryption: plain, integrity, prf, groups, additional });
    }
    Ok(proposals)
}
