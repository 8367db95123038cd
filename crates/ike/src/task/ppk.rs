//! Post-quantum pre-shared keys (RFC 8784): a secret in addition to authentication, mixed into SK_d
//! and SK_p when IKE_AUTH begins. An attacker who later breaks the key exchange still lacks it.

use crate::algorithm::Prf;
use crate::config::{Connection, Ppk};
use crate::keys::{IkeKeys, prf_plus};
use crate::message::{Payload, notify_type};
use crate::provider::Provider;
use crate::sa::IkeSa;
use crate::secret::Secret;

use super::parts::Parts;

/// PPK_ID_FIXED (RFC 8784 §5.1).
const FIXED: u8 = 2;

/// The keys of `sa` with the PPK mixed in.
pub(crate) fn mix(sa: &IkeSa, provider: &Provider, ppk: &Ppk) -> Option<IkeKeys> {
    let framer = sa.framer.as_ref()?;
    mixed(provider, framer.suite.prf, &framer.keys, ppk)
}

/// SK_d = prf+(PPK, SK_d'), and SK_pi and SK_pr likewise (RFC 8784 §3). SK_e and SK_a do not
/// change.
fn mixed(provider: &Provider, prf: Prf, keys: &IkeKeys, ppk: &Ppk) -> Option<IkeKeys> {
    let mixed = |key: &Secret| prf_plus(provider, prf, &ppk.key, &[key.expose()], key.len()).ok();
    Some(IkeKeys {
        d: mixed(&keys.d)?,
        p_initiator: mixed(&keys.p_initiator)?,
        p_responder: mixed(&keys.p_responder)?,
        ..keys.clone()
    })
}

/// Sets the keys of `sa` and returns the previous ones.
pub(crate) fn exchange(sa: &mut IkeSa, keys: IkeKeys) -> Option<IkeKeys> {
    sa.framer.as_mut().map(|framer| std::mem::replace(&mut framer.keys, keys))
}

/// N(PPK_IDENTITY) of an initiator.
pub(crate) fn identity(ppk: &Ppk) -> Payload {
    Payload::notify(notify_type::PPK_IDENTITY, [&[FIXED][..], &ppk.id].concat())
}

/// How a responder verifies AUTH of an initiator, for one connection.
pub(crate) enum Way<'a> {
    /// AUTH without a PPK.
    Plain,
    /// AUTH, with this PPK mixed in.
    Mixed(&'a Ppk),
    /// NO_PPK_AUTH in place of AUTH: we do not have the key that the initiator names, and neither
    /// end requires it.
    Without(&'a [u8]),
    /// One end requires a PPK, and there is none in common.
    Refused,
}

/// RFC 8784 §3, table 1 for the responder. `negotiated`: both sent USE_PPK in IKE_SA_INIT.
pub(crate) fn way<'a>(connection: &'a Connection, negotiated: bool, parts: &'a Parts) -> Way<'a> {
    let named = parts.notify(notify_type::PPK_IDENTITY).filter(|_| negotiated);
    let own = connection.ppk.as_ref();
    let insists = own.is_some_and(|ppk| ppk.required);
    let Some(named) = named else { return if insists { Way::Refused } else { Way::Plain } };
    let has = |ppk: &&Ppk| named.data.split_first() == Some((&FIXED, &ppk.id[..]));
    match (own.filter(has), parts.notify(notify_type::NO_PPK_AUTH)) {
        (Some(ppk), _) => Way::Mixed(ppk),
        (None, Some(proof)) if !insists => Way::Without(&proof.data),
        (None, _) => Way::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::ConnectionId;
    use crate::keys::{MessageKeys, prf};
    use crate::provider::DEFAULT;

    fn ppk() -> Ppk {
        Ppk { id: b"ours".to_vec(), key: Secret::from("key"), required: false }
    }

    fn parts(notifies: &[(u16, &[u8])]) -> Parts {
        let payloads = notifies.iter().map(|(kind, data)| Payload::notify(*kind, data.to_vec()));
        Parts::of(payloads.collect()).unwrap()
    }

    /// RFC 8784 §3: the PPK is the key of prf+, and one output block is as long as the keys.
    #[test]
    fn a_ppk_goes_into_what_makes_further_keys_and_proves() {
        let messages =
            |key: &str| MessageKeys { encryption: Secret::from(key), integrity: Secret::from(key) };
        let long = |first: u8| Secret::new((first..first + 32).collect());
        let plain = IkeKeys {
            d: long(0),
            initiator: messages("i"),
            responder: messages("r"),
            p_initiator: long(50),
            p_responder: long(100),
        };
        let keys = mixed(&DEFAULT, Prf::HmacSha256, &plain, &ppk()).unwrap();
        let expected = |key: &Secret| {
            prf(&DEFAULT, Prf::HmacSha256, &Secret::from("key"), &[key.expose(), &[1]]).unwrap()
        };
        assert_eq!(keys.d, expected(&plain.d));
        assert_eq!(keys.p_initiator, expected(&plain.p_initiator));
        assert_eq!(keys.p_responder, expected(&plain.p_responder));
        assert_eq!(keys.initiator.encryption, plain.initiator.encryption);
        assert_eq!(keys.responder.integrity, plain.responder.integrity);
    }

    /// RFC 8784 §5.1: PPK_ID_FIXED is type 2, and the rest is the name.
    #[test]
    fn a_ppk_is_named_by_type_and_identity() {
        let Payload::Notify(notify) = identity(&ppk()) else { panic!("a notify") };
        assert_eq!((notify.kind, &notify.data[..]), (16436, &b"\x02ours"[..]));
    }

    /// RFC 8784 §3, table 1, and §5.1: another type is another PPK.
    #[test]
    fn a_responder_looks_at_the_proof_that_both_ends_want() {
        const NAMED: u16 = notify_type::PPK_IDENTITY;
        const WITHOUT: (u16, &[u8]) = (notify_type::NO_PPK_AUTH, b"proof");
        let outcome = |own: Option<Ppk>, negotiated, notifies: &[(u16, &[u8])]| {
            let address: IpAddr = "192.0.2.1".parse().unwrap();
            let mut connection = Connection::psk(ConnectionId(1), address, address, Secret::from("key"));
            connection.ppk = own;
            match way(&connection, negotiated, &parts(notifies)) {
                Way::Plain => "plain",
                Way::Mixed(_) => "mixed",
                Way::Without(proof) => {
                    assert_eq!(proof, b"proof");
                    "without"
                }
                Way::Refused => "refused",
            }
        };
        let insisting = || Some(Ppk { required: true, ..ppk() });
        let (ours, other, opaque) =
            ((NAMED, &b"\x02ours"[..]), (NAMED, &b"\x02other"[..]), (NAMED, &b"\x01ours"[..]));
        assert_eq!(outcome(None, false, &[]), "plain");
        assert_eq!(outcome(Some(ppk()), false, &[ours]), "plain");
        assert_eq!(outcome(insisting(), false, &[ours]), "refused");
        for unknown in [other, opaque] {
            assert_eq!(outcome(insisting(), true, &[unknown]), "refused");
            assert_eq!(outcome(Some(ppk()), true, &[unknown]), "refused");
            assert_eq!(outcome(insisting(), true, &[unknown, WITHOUT]), "refused");
            assert_eq!(outcome(Some(ppk()), true, &[unknown, WITHOUT]), "without");
        }
        for own in [Some(ppk()), insisting()] {
            assert_eq!(outcome(own.clone(), true, &[ours]), "mixed");
            assert_eq!(outcome(own, true, &[ours, WITHOUT]), "mixed");
        }
    }
}
