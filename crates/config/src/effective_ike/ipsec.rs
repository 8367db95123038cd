//! The child SA parameters of an entry.

use super::EntryRefusal;
use crate::model::{
    Configuration, CryptoMapEntry, DfBit, DhGroup, EspCipher, EspMac, IdleTimer, KilobyteLimit, Lifetime,
    Mode, Replay,
};

/// Algorithms of one child proposal; key lengths in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpsecTransform {
    /// AES-GCM, 16-byte ICV (RFC 4106).
    AesGcm(u16),
    /// AES-GMAC (RFC 4543).
    AesGmac(u16),
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CBC with an HMAC.
    AesCbc(u16, EspMac),
    /// No encryption, HMAC only.
    Null(EspMac),
}

/// One child proposal, from one transform set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecProposal {
    /// The transform set's name.
    pub transform_set: String,
    /// Algorithms.
    pub transform: IpsecTransform,
    /// Mode.
    pub mode: Mode,
    /// `esn`: 64-bit sequence numbers are offered.
    pub esn: bool,
}

/// All SA parameters of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecParameters {
    /// Proposals in order of preference.
    pub proposals: Vec<IpsecProposal>,
    /// Lifetime, seconds.
    pub lifetime_seconds: u32,
    /// Lifetime, kilobytes; `None` when disabled.
    pub lifetime_kilobytes: Option<u32>,
    /// PFS group.
    pub pfs: Option<DhGroup>,
    /// Replay window in packets; `None` when disabled.
    pub replay_window: Option<u16>,
    /// The idle timer in force.
    pub idle: Option<IdleTimer>,
    /// One SA pair for each host pair.
    pub per_host: bool,
    /// DF bit of the outer header.
    pub df_bit: DfBit,
}

/// The SA parameters of an entry, or why it has none.
pub fn effective_ipsec(
    configuration: &Configuration,
    map: &str,
    seq: u16,
    entry: &CryptoMapEntry,
) -> Result<IpsecParameters, EntryRefusal> {
    let refuse = |reason: String, remedy: &str| EntryRefusal {
        map: map.into(),
        seq,
        reason,
        remedy: remedy.to_string(),
    };
    let body = &entry.body;
    let mut proposals = Vec::new();
    for name in &body.transform_sets {
        let Some(set) = configuration.transform_sets.get(name) else {
            return Err(refuse(
                format!("transform set {name} does not exist"),
                "create it with \"crypto ipsec transform-set\"",
            ));
        };
        let place = |what: &str| format!("transform set {name} {what}");
        if set.ah.is_some() {
            return Err(refuse(place("uses AH"), "use \"esp-gcm\", or \"esp-null\" with a MAC"));
        }
        if set.compression {
            return Err(refuse(place("uses compression"), "leave \"comp-lzs\" out"));
        }
        if set.mac == Some(EspMac::Md5) {
            return Err(refuse(place("uses MD5"), "use \"esp-sha256-hmac\""));
        }
        let transform = match (set.cipher, set.mac) {
            (Some(EspCipher::Gcm(bits)), _) => IpsecTransform::AesGcm(bits),
            (Some(EspCipher::Gmac(bits)), _) => IpsecTransform::AesGmac(bits),
            (Some(EspCipher::ChaCha20Poly1305), _) => IpsecTransform::ChaCha20Poly1305,
            (Some(EspCipher::Aes(bits)), Some(mac)) => IpsecTransform::AesCbc(bits, mac),
            (Some(EspCipher::Null), Some(mac)) => IpsecTransform::Null(mac),
            (Some(EspCipher::Aes(_) | EspCipher::Null), None) => {
                return Err(refuse(
                    place("has no integrity"),
                    "add \"esp-sha256-hmac\", or use \"esp-gcm 256\"",
                ));
            }
            (Some(EspCipher::Des | EspCipher::TripleDes), _) => {
                return Err(refuse(
                    place("uses DES or 3DES"),
                    "use \"esp-gcm 256\" or \"esp-aes 256 esp-sha256-hmac\"",
                ));
            }
            (Some(EspCipher::Seal) | None, _) => {
                return Err(refuse(place("has no usable ESP cipher"), "use \"esp-gcm 256\""));
            }
        };
        proposals.push(IpsecProposal {
            transform_set: name.clone(),
            transform,
            mode: set.mode,
            esn: set.esn,
        });
    }
    if let Some(group) = body.pfs.filter(|group| group.is_weak()) {
        return Err(refuse(
            format!("set pfs group{} is too weak", group.0),
            "use \"set pfs group19\" or group14",
        ));
    }
    let globals = &configuration.ipsec;
    let kilobytes = body.lifetime.kilobytes.or(globals.lifetime.kilobytes);
    Ok(IpsecParameters {
        proposals,
        lifetime_seconds: body.lifetime.seconds.or(globals.lifetime.seconds).unwrap_or(Lifetime::SECONDS),
        lifetime_kilobytes: match kilobytes.unwrap_or(KilobyteLimit::Kilobytes(Lifetime::KILOBYTES)) {
            KilobyteLimit::Kilobytes(kilobytes) => Some(kilobytes),
            KilobyteLimit::Disabled => None,
        },
        pfs: body.pfs,
        replay_window: match body.replay.or(globals.replay).unwrap_or(Replay::DEFAULT) {
            Replay::Window(packets) => Some(packets),
            Replay::Disabled => None,
        },
        idle: configuration.idle_timer(body),
        per_host: body.per_host,
        df_bit: body.df_bit.unwrap_or(globals.df_bit),
    })
}
