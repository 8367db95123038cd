//! Post-quantum pre-shared keys (RFC 8784): a secret beside the proof of identity, mixed into SK_d and SK_p once IKE_AUTH begins. Whoever
//! breaks the key exchange later still lacks it.

use crate::config::{Connection, Ppk};
use crate::keys::{IkeKeys, prf_plus};
use crate::message::{Payload, notify_type};
use crate::provider::Provider;
use crate::sa::IkeSa;
use crate::secret::Secret;

use super::parts::Parts;

/// PPK_ID_FIXED (RFC 8784 §5.1).
const FIXED: u8 = 2;

/// SK_d = prf+(PPK, SK_d'), and SK_pi and SK_pr likewise (RFC 8784 §3). What protects messages stays.
pub(crate) fn mix(sa: &IkeSa, provider: &Provider, ppk: &Ppk) -> Option<IkeKeys> {
    let framer = sa.framer.as_ref()?;
    let mixed =
        |key: &Secret| prf_plus(provider, framer.suite.prf, &ppk.key, &[key.expose()], key.len()).ok();
    let keys = &framer.keys;
    Some(IkeKeys {
        d: mixed(&keys.d)?,
        p_initiator: mixed(&keys.p_initiator)?,
        p_responder: mixed(&keys.p_responder)?,
        ..keys.clone()
    })
}

/// The keys of `sa` are `keys` from now on; gives back those of before.
pub(crate) fn exchange(sa: &mut IkeSa, keys: IkeKeys) -> Option<IkeKeys> {
    sa.framer.as_mut().map(|framer| std::mem::replace(&mut framer.keys, keys))
}

/// N(PPK_IDENTITY) of an initiator.
pub(crate) fn identity(ppk: &Ppk) -> Payload {
    Payload::notify(notify_type::PPK_IDENTITY, [&[FIXED][..], &ppk.id].concat())
}

/// How a responder has to look at the proof of an initiator, for one connection.
pub(crate) enum Way<'a> {
    /// AUTH as it stands, without a PPK.
    Plain,
    /// AUTH, with this PPK mixed in.
    Mixed(&'a Ppk),
    /// NO_PPK_AUTH in place of AUTH: we do not have the key that the initiator names, and neither end insists.
    Without(&'a [u8]),
    /// One end insists on a PPK, and there is none in common.
    Refused,
}

/// RFC 8784 §3, table 1 for the responder. `negotiated`: both said USE_PPK in IKE_SA_INIT.
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
