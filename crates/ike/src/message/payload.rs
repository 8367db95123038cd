//! Payload chains (RFC 7296 §3.2) and the payloads in them.

use super::notify::Notify;
use super::proposal::{self, Proposal};
use super::reader::Reader;
use super::{ParseError, selectors};
use crate::identity::Identity;
use crate::selector::TrafficSelector;

/// Payload type numbers.
pub(crate) mod payload_type {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const SA: u8 = 33;
    pub(crate) const KE: u8 = 34;
    pub(crate) const ID_I: u8 = 35;
    pub(crate) const ID_R: u8 = 36;
    pub(crate) const CERT: u8 = 37;
    pub(crate) const CERT_REQ: u8 = 38;
    pub(crate) const AUTH: u8 = 39;
    pub(crate) const NONCE: u8 = 40;
    pub(crate) const NOTIFY: u8 = 41;
    pub(crate) const DELETE: u8 = 42;
    pub(crate) const VENDOR_ID: u8 = 43;
    pub(crate) const TS_I: u8 = 44;
    pub(crate) const TS_R: u8 = 45;
    pub(crate) const SK: u8 = 46;
    pub(crate) const CP: u8 = 47;
    pub(crate) const EAP: u8 = 48;
    pub(crate) const SKF: u8 = 53;
}

/// A payload whose content is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Sa(Vec<Proposal>),
    /// (group number, public value)
    KeyExchange(u16, Vec<u8>),
    IdI(Identity),
    IdR(Identity),
    /// (encoding, data), RFC 7296 §3.6
    Certificate(u8, Vec<u8>),
    /// (encoding, data), RFC 7296 §3.7
    CertificateRequest(u8, Vec<u8>),
    /// (authentication method, data)
    Auth(u8, Vec<u8>),
    Nonce(Vec<u8>),
    Notify(Notify),
    Delete(DeletePayload),
    TsI(Vec<TrafficSelector>),
    TsR(Vec<TrafficSelector>),
    VendorId(Vec<u8>),
    /// CP and EAP, which are defined but not implemented: (payload type, body).
    Skipped(u8, Vec<u8>),
}

/// A Delete payload (RFC 7296 §3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeletePayload {
    /// The IKE SA that carries it.
    Ike,
    /// ESP SAs by the sender's inbound SPIs.
    Esp(Vec<u32>),
    /// SAs of another protocol, which never exist here.
    Other(u8),
}

/// One payload of a chain, not yet parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawPayload<'a> {
    pub(crate) kind: u8,
    pub(crate) critical: bool,
    /// The type that the next-payload field names: for SK the first payload inside (RFC 7296
    /// §3.14).
    pub(crate) next: u8,
    /// Where the body begins in the bytes that were split.
    pub(crate) offset: usize,
    pub(crate) body: &'a [u8],
}

const MAX_PAYLOADS: usize = 64;

/// Cuts a chain into payloads. SK and SKF end a chain, as their next-payload field means something
/// else.
pub(crate) fn split(first: u8, bytes: &[u8]) -> Result<Vec<RawPayload<'_>>, ParseError> {
    let mut payloads = Vec::new();
    let (mut kind, mut offset) = (first, 0);
    while kind != payload_type::NONE {
        if payloads.len() == MAX_PAYLOADS {
            return Err(ParseError::TooMany("payloads"));
        }
        let mut reader = Reader::new(bytes.get(offset..).unwrap_or_default(), "a payload");
        let (next, critical, length) = (reader.u8()?, reader.u8()? & 0x80 != 0, reader.u16()?);
        let body = reader.take(usize::from(length).checked_sub(4).ok_or(ParseError::Length("a payload"))?)?;
        payloads.push(RawPayload { kind, critical, next, offset: offset + 4, body });
        offset += usize::from(length);
        if matches!(kind, payload_type::SK | payload_type::SKF) {
            break;
        }
        kind = next;
    }
    if offset != bytes.len() {
        return Err(ParseError::Length("the payload chain"));
    }
    Ok(payloads)
}

/// Cuts and reads a chain without SK. Unknown payloads are skipped unless they are critical (RFC
/// 7296 §2.5).
pub(crate) fn parse(first: u8, bytes: &[u8]) -> Result<Vec<Payload>, ParseError> {
    let mut payloads = Vec::new();
    for raw in split(first, bytes)? {
        payloads.extend(read(&raw)?);
    }
    Ok(payloads)
}

fn read(raw: &RawPayload<'_>) -> Result<Option<Payload>, ParseError> {
    use payload_type as t;
    let body = raw.body;
    Ok(Some(match raw.kind {
        t::SA => Payload::Sa(proposal::parse(body)?),
        t::KE => {
            let mut reader = Reader::new(body, "a KE payload");
            let (group, _reserved) = (reader.u16()?, reader.u16()?);
            Payload::KeyExchange(group, reader.rest().to_vec())
        }
        t::ID_I => Payload::IdI(identity(body)?),
        t::ID_R => Payload::IdR(identity(body)?),
        t::AUTH => {
            let mut reader = Reader::new(body, "an AUTH payload");
            let method = reader.u8()?;
            reader.take(3)?;
            Payload::Auth(method, reader.rest().to_vec())
        }
        // RFC 7296 §3.9: 16 to 256 octets.
        t::NONCE if (16..=256).contains(&body.len()) => Payload::Nonce(body.to_vec()),
        t::NONCE => return Err(ParseError::Length("a nonce")),
        t::NOTIFY => {
            let mut reader = Reader::new(body, "a notify payload");
            let (protocol, spi_len, kind) = (reader.u8()?, reader.u8()?, reader.u16()?);
            let spi = reader.take(spi_len.into())?.to_vec();
            Payload::Notify(Notify { protocol, spi, kind, data: reader.rest().to_vec() })
        }
        t::DELETE => Payload::Delete(delete(body)?),
        t::TS_I => Payload::TsI(selectors::parse(body)?),
        t::TS_R => Payload::TsR(selectors::parse(body)?),
        t::VENDOR_ID => Payload::VendorId(body.to_vec()),
        t::CERT | t::CERT_REQ => {
            let mut reader = Reader::new(body, "a CERT or CERTREQ payload");
            let (encoding, data) = (reader.u8()?, reader.rest().to_vec());
            match raw.kind {
                t::CERT => Payload::Certificate(encoding, data),
                _ => Payload::CertificateRequest(encoding, data),
            }
        }
        t::CP | t::EAP => Payload::Skipped(raw.kind, body.to_vec()),
        t::SK | t::SKF => return Err(ParseError::Value("a nested encrypted payload")),
        // RFC 7296 §2.5: the critical bit counts for unknown types only.
        unknown if raw.critical => return Err(ParseError::UnsupportedCritical(unknown)),
        _ => return Ok(None),
    }))
}

fn identity(body: &[u8]) -> Result<Identity, ParseError> {
    let mut reader = Reader::new(body, "an ID payload");
    let id_type = reader.u8()?;
    reader.take(3)?;
    Ok(Identity::from_wire(id_type, reader.rest()))
}

fn delete(body: &[u8]) -> Result<DeletePayload, ParseError> {
    const WHAT: &str = "a delete payload";
    let mut reader = Reader::new(body, WHAT);
    let (protocol, spi_len, count) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let spis = reader.rest();
    if spis.len() != usize::from(spi_len) * usize::from(count) {
        return Err(ParseError::Length(WHAT));
    }
    match (protocol, spi_len) {
        (super::protocol::IKE, 0) if count == 0 => Ok(DeletePayload::Ike),
        (super::protocol::ESP, 4) => Ok(DeletePayload::Esp(
            spis.as_chunks::<4>().0.iter().map(|spi| u32::from_be_bytes(*spi)).collect(),
        )),
        (super::protocol::ESP, 0) if count == 0 => Ok(DeletePayload::Esp(vec![])),
        (super::protocol::IKE | super::protocol::ESP, _) => Err(ParseError::Length(WHAT)),
        (other, _) => Ok(DeletePayload::Other(other)),
    }
}

/// A chain as bytes: (type of the first payload, bytes).
pub(crate) fn encode(payloads: &[Payload]) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    for (position, payload) in payloads.iter().enumerate() {
        let next = payloads.get(position + 1).map_or(payload_type::NONE, Payload::kind);
        encode_generic(&mut bytes, next, &payload.body());
    }
    (payloads.first().map_or(payload_type::NONE, Payload::kind), bytes)
}

/// Appends a generic payload header and a body.
fn encode_generic(bytes: &mut Vec<u8>, next: u8, body: &[u8]) {
    bytes.extend([next, 0]);
    bytes.extend((body.len() as u16).saturating_add(4).to_be_bytes());
    bytes.extend_from_slice(body);
}

impl Payload {
    /// A notify about no SPI.
    pub(crate) fn notify(kind: u16, data: Vec<u8>) -> Self {
        Payload::Notify(Notify::new(kind, data))
    }

    pub(crate) fn kind(&self) -> u8 {
        use payload_type as t;
        match self {
            Payload::Sa(_) => t::SA,
            Payload::KeyExchange(..) => t::KE,
            Payload::IdI(_) => t::ID_I,
            Payload::IdR(_) => t::ID_R,
            Payload::Certificate(..) => t::CERT,
            Payload::CertificateRequest(..) => t::CERT_REQ,
            Payload::Auth(..) => t::AUTH,
            Payload::Nonce(_) => t::NONCE,
            Payload::Notify(_) => t::NOTIFY,
            Payload::Delete(_) => t::DELETE,
            Payload::TsI(_) => t::TS_I,
            Payload::TsR(_) => t::TS_R,
            Payload::VendorId(_) => t::VENDOR_ID,
            Payload::Skipped(kind, _) => *kind,
        }
    }

    /// The body without the generic header.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self {
            Payload::Sa(proposals) => proposal::encode(proposals),
            Payload::KeyExchange(group, data) => [&group.to_be_bytes()[..], &[0, 0], data].concat(),
            Payload::IdI(identity) | Payload::IdR(identity) => {
                [&[identity.id_type(), 0, 0, 0][..], &identity.data()].concat()
            }
            Payload::Certificate(encoding, data) | Payload::CertificateRequest(encoding, data) => {
                [&[*encoding][..], data].concat()
            }
            Payload::Auth(method, data) => [&[*method, 0, 0, 0][..], data].concat(),
            Payload::Nonce(data) | Payload::VendorId(data) | Payload::Skipped(_, data) => data.clone(),
            Payload::Notify(Notify { protocol, spi, kind, data }) => {
                [&[*protocol, spi.len() as u8][..], &kind.to_be_bytes(), spi, data].concat()
            }
            Payload::Delete(DeletePayload::Ike) => vec![super::protocol::IKE, 0, 0, 0],
            Payload::Delete(DeletePayload::Esp(spis)) => {
                let count = (spis.len() as u16).to_be_bytes();
                let mut body = vec![super::protocol::ESP, 4, count[0], count[1]];
                spis.iter().for_each(|spi| body.extend(spi.to_be_bytes()));
                body
            }
            Payload::Delete(DeletePayload::Other(protocol)) => vec![*protocol, 0, 0, 0],
            Payload::TsI(selectors) | Payload::TsR(selectors) => selectors::encode(selectors),
        }
    }
}
