//! The payloads of one message by kind.

use crate::action::FailReason;
use crate::identity::Identity;
use crate::message::{DeletePayload, Notify, Payload, Proposal, notify_type};
use crate::selector::TrafficSelector;

/// X.509 Certificate - Signature, RFC 7296 §3.6.
pub(crate) const X509_SIGNATURE: u8 = 4;

/// CAs of a peer's CERTREQ that are considered.
const MAX_AUTHORITIES: usize = 256;

/// The payloads of a message. A duplicate of a payload that may occur once makes the message
/// malformed.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) sa: Option<Vec<Proposal>>,
    pub(crate) ke: Option<(u16, Vec<u8>)>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) id_i: Option<Identity>,
    pub(crate) id_r: Option<Identity>,
    pub(crate) auth: Option<(u8, Vec<u8>)>,
    /// X.509 certificates as they were sent, and whether any was asked for: the CAs that are named
    /// (RFC 7296 §3.6, §3.7).
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) authorities: Option<Vec<[u8; 20]>>,
    pub(crate) ts_i: Option<Vec<TrafficSelector>>,
    pub(crate) ts_r: Option<Vec<TrafficSelector>>,
    pub(crate) notifies: Vec<Notify>,
    pub(crate) deletes: Vec<DeletePayload>,
}

impl Parts {
    /// `None` if a payload occurs twice.
    pub(crate) fn of(payloads: Vec<Payload>) -> Option<Self> {
        let mut parts = Parts::default();
        for payload in payloads {
            match payload {
                Payload::Sa(proposals) => once(&mut parts.sa, proposals)?,
                Payload::KeyExchange(group, data) => once(&mut parts.ke, (group, data))?,
                Payload::Nonce(data) => once(&mut parts.nonce, data)?,
                Payload::IdI(identity) => once(&mut parts.id_i, identity)?,
                Payload::IdR(identity) => once(&mut parts.id_r, identity)?,
                Payload::Auth(method, data) => once(&mut parts.auth, (method, data))?,
                Payload::Certificate(X509_SIGNATURE, der) => parts.certificates.push(der),
                Payload::CertificateRequest(X509_SIGNATURE, hashes) => {
                    let named = parts.authorities.get_or_insert_default();
                    named.extend(
                        hashes.as_chunks().0.iter().take(MAX_AUTHORITIES - named.len().min(MAX_AUTHORITIES)),
                    );
                }
                // Other encodings: RFC 7296 §3.6 makes raw keys and URLs configurable; they are
                // never requested here.
                Payload::Certificate(..) | Payload::CertificateRequest(..) => {}
                Payload::TsI(selectors) => once(&mut parts.ts_i, selectors)?,
                Payload::TsR(selectors) => once(&mut parts.ts_r, selectors)?,
                Payload::Notify(notify) => parts.notifies.push(notify),
                Payload::Delete(delete) => parts.deletes.push(delete),
                Payload::VendorId(_) | Payload::Skipped(..) => {}
            }
        }
        Some(parts)
    }

    pub(crate) fn notify(&self, kind: u16) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.kind == kind)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.notify(kind).is_some()
    }

    /// What the peer announced in SIGNATURE_HASH_ALGORITHMS; `None`: it does not support RFC 7427.
    pub(crate) fn signature_hashes(&self) -> Option<Vec<u16>> {
        self.notify(notify_type::SIGNATURE_HASH_ALGORITHMS)
            .map(|notify| super::signature::announced(&notify.data))
    }

    /// The first error notify.
    pub(crate) fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.is_error())
    }
}

/// The fail reason of an error notify that answers our request.
pub(crate) fn fail_reason(notify: u16) -> FailReason {
    match notify {
        notify_type::NO_PROPOSAL_CHOSEN => FailReason::NoProposal,
        notify_type::AUTHENTICATION_FAILED => FailReason::AuthFailed,
        notify_type::TS_UNACCEPTABLE => FailReason::TsUnacceptable,
        notify_type::INVALID_KE_PAYLOAD => FailReason::NoGroup,
        notify_type::NO_ADDITIONAL_SAS => FailReason::NoAdditionalSas,
        notify_type::CHILD_SA_NOT_FOUND => FailReason::ChildNotFound,
        notify_type::TEMPORARY_FAILURE | notify_type::STATE_NOT_FOUND => FailReason::TemporaryFailure,
        notify_type::INVALID_MAJOR_VERSION => FailReason::Version,
        notify_type::INVALID_SYNTAX | notify_type::UNSUPPORTED_CRITICAL_PAYLOAD => FailReason::Syntax,
        other => FailReason::PeerError(other),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    if slot.is_some() {
        return None;
    }
    *slot = Some(value);
    Some(())
}
