//! Proposals and chosen suites: algorithm lists of the configuration, and the one suite negotiated
//! from them.

use crate::algorithm::{Encryption, Group, Integrity, Prf};

/// One IKE proposal of the configuration: for each kind, the acceptable algorithms in order of
/// preference.
///
/// Combined and other modes may be in one list; on the wire they become separate proposals
/// (RFC 7296 §3.3). `integrity` is used with non-combined modes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal {
    /// Encryption of IKE messages.
    pub encryption: Vec<Encryption>,
    /// Integrity of IKE messages for non-combined modes.
    pub integrity: Vec<Integrity>,
    /// Pseudo-random functions. If empty, those of the `integrity` hashes are used.
    pub prf: Vec<Prf>,
    /// Key exchange methods; the first one is tried first.
    pub groups: Vec<Group>,
    /// Additional key exchanges (RFC 9370). A Child SA with a key exchange of its own uses the same
    /// ones, if the peer agrees.
    pub additional: Vec<AdditionalExchange>,
}

/// One of the additional key exchanges of a proposal (RFC 9370 §2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdditionalExchange {
    /// 1 to 7, each once in a proposal: the exchanges follow one another in this order.
    pub number: u8,
    /// Acceptable methods in order of preference.
    pub groups: Vec<Group>,
    /// A peer without this exchange is accepted, too.
    pub optional: bool,
}

impl IkeProposal {
    /// What is proposed and accepted where nothing is configured: RFC 8247's mandatory and
    /// recommended algorithms.
    pub fn defaults() -> Vec<IkeProposal> {
        let groups = vec![Group::Ecp256, Group::Ecp384, Group::Curve25519, Group::Modp2048];
        vec![
            IkeProposal {
                encryption: vec![Encryption::AesGcm256, Encryption::AesGcm128],
                integrity: vec![],
                prf: vec![Prf::HmacSha384, Prf::HmacSha256],
                groups: groups.clone(),
                additional: vec![],
            },
            IkeProposal {
                encryption: vec![Encryption::AesCbc256],
                integrity: vec![Integrity::HmacSha256_128],
                prf: vec![Prf::HmacSha256],
                groups,
                additional: vec![],
            },
        ]
    }

    /// The configured PRFs, or those of the integrity hashes.
    pub fn effective_prf(&self) -> Vec<Prf> {
        if self.prf.is_empty() { self.integrity.iter().map(|i| i.prf()).collect() } else { self.prf.clone() }
    }
}

/// One ESP proposal of the configuration: for each kind, the acceptable algorithms in order of
/// preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspProposal {
    /// Encryption of packets; modes may be mixed as in [`IkeProposal`].
    pub encryption: Vec<Encryption>,
    /// Integrity for non-combined modes.
    pub integrity: Vec<Integrity>,
    /// Key exchange methods for perfect forward secrecy in CREATE_CHILD_SA; empty means none. The
    /// first child, which IKE_AUTH makes, never has an exchange of its own (RFC 7296 §1.2).
    pub groups: Vec<Group>,
    /// Extended sequence numbers: acceptable values in order of preference, e.g. `[true, false]`.
    pub esn: Vec<bool>,
}

impl EspProposal {
    /// What is proposed and accepted where nothing is configured.
    pub fn defaults() -> Vec<EspProposal> {
        vec![
            EspProposal {
                encryption: vec![Encryption::AesGcm256, Encryption::AesGcm128],
                integrity: vec![],
                groups: vec![],
                esn: vec![true, false],
            },
            EspProposal {
                encryption: vec![Encryption::AesCbc256],
                integrity: vec![Integrity::HmacSha256_128],
                groups: vec![],
                esn: vec![true, false],
            },
        ]
    }
}

/// The algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// Encryption of IKE messages.
    pub encryption: Encryption,
    /// Integrity of IKE messages; `None` with a combined mode.
    pub integrity: Option<Integrity>,
    /// Pseudo-random function.
    pub prf: Prf,
    /// Key exchange method.
    pub group: Group,
    /// Additional key exchanges.
    pub additional: Additional,
}

/// The additional key exchanges that were agreed on (RFC 9370).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additional(pub(crate) [Agreed; 7]);

/// The outcome of one additional key exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// Not negotiated.
    #[default]
    Nothing,
    /// NONE was offered and chosen.
    Declined,
    Method(Group),
}

impl Additional {
    /// The methods in the order of their exchanges.
    pub fn methods(&self) -> impl Iterator<Item = Group> + '_ {
        self.0.iter().filter_map(|agreed| match agreed {
            Agreed::Method(group) => Some(*group),
            _ => None,
        })
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.methods().next().is_none()
    }
}

/// The algorithms of a Child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspSuite {
    /// Encryption of packets.
    pub encryption: Encryption,
    /// Integrity of packets; `None` with a combined mode.
    pub integrity: Option<Integrity>,
    /// 64-bit sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// The key exchange of this Child SA's own, if it had one.
    pub group: Option<Group>,
}
