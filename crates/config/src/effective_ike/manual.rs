//! The SA pair of an `ipsec-manual` entry: algorithms and keys are configured, nothing is
//! negotiated.

use zeroize::Zeroizing;

use super::EntryRefusal;
use super::ipsec::{IpsecParameters, IpsecTransform, effective_ipsec};
use crate::model::{Configuration, CryptoMapEntry, EspMac, PeerName, Secret, SessionKey};

/// The SA pair of a hand-keyed entry.
#[derive(Clone)]
pub struct ManualParameters {
    /// The one peer.
    pub peer: std::net::IpAddr,
    /// Parameters common to hand-keyed and negotiated SAs; exactly one proposal.
    pub ipsec: IpsecParameters,
    /// `set session-key inbound esp`.
    pub inbound: ManualKey,
    /// `set session-key outbound esp`.
    pub outbound: ManualKey,
}

/// A manual key of the length that the algorithms require.
#[derive(Clone)]
pub struct ManualKey {
    /// The SPI.
    pub spi: u32,
    /// Key of the cipher; empty for `esp-null`.
    pub cipher: Zeroizing<Vec<u8>>,
    /// Key of the HMAC.
    pub authenticator: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ManualParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManualParameters").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The SA pair of an `ipsec-manual` entry, or why it has none.
///
/// Keys for counter mode or GCM are rejected: the sequence numbers of a manual SA start at 1
/// whenever the gateway starts, so that nonces would repeat (RFC 4106 §3, RFC 7634 §2 and RFC 8221
/// §3 forbid manual keys there).
pub fn effective_manual(
    configuration: &Configuration,
    map: &str,
    seq: u16,
    entry: &CryptoMapEntry,
) -> Result<ManualParameters, EntryRefusal> {
    let refuse =
        |reason: String, remedy: &str| EntryRefusal { map: map.into(), seq, reason, remedy: remedy.into() };
    let body = &entry.body;
    let [peer] = body.peers.as_slice() else {
        return Err(refuse("hand keys are for exactly one peer".into(), "type one \"set peer\" line"));
    };
    let PeerName::Address(peer) = peer.name else {
        return Err(refuse("hand keys need the address of their peer".into(), "type \"set peer ADDRESS\""));
    };
    let mut ipsec = effective_ipsec(configuration, map, seq, entry)?;
    let [proposal] = ipsec.proposals.as_slice() else {
        return Err(refuse("hand keys are for exactly one transform set".into(), "name one transform set"));
    };
    if proposal.esn {
        return Err(refuse(
            format!("transform set {} has esn, which only IKE can agree upon", proposal.transform_set),
            "type \"no esn\" in the transform set",
        ));
    }
    let (cipher_len, mac) = match proposal.transform {
        IpsecTransform::AesCbc(bits, mac) => (usize::from(bits) / 8, mac),
        IpsecTransform::Null(mac) => (0, mac),
        IpsecTransform::AesGcm(_) | IpsecTransform::AesGmac(_) | IpsecTransform::ChaCha20Poly1305 => {
            return Err(refuse(
                format!("transform set {} would repeat nonces under hand-made keys", proposal.transform_set),
                "use \"esp-aes 256 esp-sha256-hmac\", or an ipsec-isakmp entry",
            ));
        }
    };
    let mac_len = match mac {
        EspMac::Md5 => 16,
        EspMac::Sha1 => 20,
        EspMac::Sha256 => 32,
        EspMac::Sha384 => 48,
        EspMac::Sha512 => 64,
    };
    let keys = &body.session_keys;
    if keys.inbound_ah.is_some() || keys.outbound_ah.is_some() {
        return Err(refuse(
            "AH is not supported".into(),
            "type \"set session-key ... esp\" with an authenticator",
        ));
    }
    let key = |direction: &str, key: &Option<SessionKey>| {
        let place = |what: &str| format!("session-key {direction} esp {what}");
        let Some(key) = key else {
            return Err(refuse(place("is missing"), "type \"set session-key\" for both directions"));
        };
        let Some(authenticator) = &key.authenticator else {
            return Err(refuse(place("has no authenticator"), "add \"authenticator\" and its key"));
        };
        let cut = |what: &str, secret: &Secret, len: usize| {
            octets(secret, len).ok_or_else(|| {
                refuse(
                    place(&format!("has a {what} key that is no hexadecimal number of {len} octets")),
                    "type two hexadecimal digits for each octet",
                )
            })
        };
        Ok(ManualKey {
            spi: key.spi,
            cipher: cut("cipher", &key.cipher, cipher_len)?,
            authenticator: cut("authenticator", authenticator, mac_len)?,
        })
    };
    let (inbound, outbound) = (key("inbound", &keys.inbound_esp)?, key("outbound", &keys.outbound_esp)?);
    // RFC 4303 §3.4.3: no anti-replay for manually keyed SAs. They also have no lifetime, since
    // they cannot be rekeyed.
    ipsec.replay_window = None;
    ipsec.lifetime_kilobytes = None;
    ipsec.idle = None;
    Ok(ManualParameters { peer, ipsec, inbound, outbound })
}

/// The first `len` octets of a hexadecimal number; a longer one is truncated, as in IOS.
fn octets(secret: &Secret, len: usize) -> Option<Zeroizing<Vec<u8>>> {
    let digits = secret.expose().as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut octets = Zeroizing::new(Vec::with_capacity(len));
    for pair in pairs.get(..len)? {
        let text = std::str::from_utf8(pair).ok()?;
        octets.push(u8::from_str_radix(text, 16).ok()?);
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryBody, EspCipher, Keying, Peer, TransformSet};

    fn key(spi: u32, cipher: usize, authenticator: usize) -> Option<SessionKey> {
        let digits = |octets: usize| Secret::new("a5".repeat(octets));
        Some(SessionKey { spi, cipher: digits(cipher), authenticator: Some(digits(authenticator)) })
    }

    fn configuration(cipher: EspCipher, mac: Option<EspMac>) -> (Configuration, CryptoMapEntry) {
        let mut configuration = Configuration::default();
        let set = TransformSet { cipher: Some(cipher), mac, ..TransformSet::default() };
        configuration.transform_sets.insert("ts".into(), set);
        let body = EntryBody::default();
        let mut entry = CryptoMapEntry { keying: Keying::Manual, template_profile: None, body };
        entry.body.transform_sets = vec!["ts".into()];
        let name = PeerName::Address("10.1.1.1".parse().unwrap());
        entry.body.peers = vec![Peer { name, default: false }];
        entry.body.session_keys.inbound_esp = key(300, 32, 64);
        entry.body.session_keys.outbound_esp = key(301, 32, 64);
        (configuration, entry)
    }

    fn refusal(configuration: &Configuration, entry: &CryptoMapEntry) -> String {
        effective_manual(configuration, "m", 1, entry).unwrap_err().to_string()
    }

    #[test]
    fn keys_are_cut_to_what_the_algorithms_take() {
        for (bits, cipher_len) in [(128, 16), (192, 24), (256, 32)] {
            let (c, entry) = configuration(EspCipher::Aes(bits), Some(EspMac::Sha256));
            let manual = effective_manual(&c, "m", 1, &entry).unwrap();
            assert_eq!((manual.inbound.spi, manual.outbound.spi), (300, 301));
            assert_eq!((manual.inbound.cipher.len(), manual.inbound.authenticator.len()), (cipher_len, 32));
            assert_eq!(manual.ipsec.replay_window, None);
            assert!(!format!("{manual:?}").contains("a5"));
        }
    }

    #[test]
    fn nonces_are_not_repeated_under_hand_made_keys() {
        for cipher in [EspCipher::Gcm(256), EspCipher::Gmac(128), EspCipher::ChaCha20Poly1305] {
            let (c, entry) = configuration(cipher, None);
            let text = refusal(&c, &entry);
            assert!(text.contains("repeat nonces") && text.contains("esp-aes 256"), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_short_is_refused_by_name() {
        let (c, whole) = configuration(EspCipher::Aes(256), Some(EspMac::Sha512));
        let with = |change: &dyn Fn(&mut CryptoMapEntry)| {
            let mut entry = whole.clone();
            change(&mut entry);
            refusal(&c, &entry)
        };
        assert!(with(&|e| e.body.session_keys.inbound_esp = None).contains("inbound esp is missing"));
        assert!(with(&|e| e.body.session_keys.outbound_esp = key(301, 31, 64)).contains("32 octets"));
        assert!(with(&|e| e.body.session_keys.outbound_esp = key(301, 32, 63)).contains("64 octets"));
        assert!(with(&|e| e.body.session_keys.inbound_ah = key(400, 20, 0)).contains("AH is not supported"));
        assert!(with(&|e| e.body.peers.clear()).contains("exactly one peer"));
        let (mut c, entry) = configuration(EspCipher::Aes(256), Some(EspMac::Sha512));
        if let Some(set) = c.transform_sets.get_mut("ts") {
            set.esn = true;
        }
        assert!(refusal(&c, &entry).contains("no esn"));
    }
}
