//! Security Association payloads: proposals and transforms (RFC 7296 §3.3).

use super::ParseError;
use super::reader::Reader;

/// Transform types.
pub(crate) mod transform_type {
    pub(crate) const ENCRYPTION: u8 = 1;
    pub(crate) const PRF: u8 = 2;
    pub(crate) const INTEGRITY: u8 = 3;
    pub(crate) const KEY_EXCHANGE: u8 = 4;
    pub(crate) const SEQUENCE_NUMBERS: u8 = 5;
    /// Additional Key Exchange 1 to 7 (RFC 9370 §2.2.1).
    pub(crate) const ADDITIONAL: [u8; 7] = [6, 7, 8, 9, 10, 11, 12];
}

const KEY_LENGTH_ATTRIBUTE: u16 = 14;
const MAX_PROPOSALS: usize = 64;

/// One proposal: a set of acceptable transforms of each type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) number: u8,
    pub(crate) protocol: u8,
    /// Empty in IKE_SA_INIT, eight octets when an IKE SA is rekeyed, four for ESP.
    pub(crate) spi: Vec<u8>,
    pub(crate) transforms: Vec<Transform>,
}

/// One transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transform {
    pub(crate) kind: u8,
    pub(crate) id: u16,
    pub(crate) key_bits: Option<u16>,
    /// It has an attribute that is not understood, so it must not be chosen (RFC 7296 §3.3.6).
    pub(crate) not_understood: bool,
}

impl Transform {
    pub(crate) fn new(kind: u8, id: u16) -> Self {
        Transform { kind, id, key_bits: None, not_understood: false }
    }

    pub(crate) fn with_key_bits(kind: u8, id: u16, key_bits: Option<u16>) -> Self {
        Transform { key_bits, ..Self::new(kind, id) }
    }
}

/// Reads the body of an SA payload.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Proposal>, ParseError> {
    const WHAT: &str = "a proposal";
    let mut reader = Reader::new(body, WHAT);
    let mut proposals = Vec::new();
    loop {
        let (last, _reserved, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let content = reader.take(usize::from(length).checked_sub(4).ok_or(ParseError::Length(WHAT))?)?;
        let mut content = Reader::new(content, WHAT);
        let (number, protocol, spi_len, count) = (content.u8()?, content.u8()?, content.u8()?, content.u8()?);
        let spi = content.take(spi_len.into())?.to_vec();
        let transforms = parse_transforms(&mut content, count)?;
        if proposals.len() == MAX_PROPOSALS {
            return Err(ParseError::TooMany("proposals"));
        }
        proposals.push(Proposal { number, protocol, spi, transforms });
        // RFC 7296 §3.3.1: 2 if more proposals follow, else 0; the length of the payload must
        // agree.
        match (last, reader.is_empty()) {
            (0, true) => return Ok(proposals),
            (2, false) => {}
            _ => return Err(ParseError::Value(WHAT)),
        }
    }
}

fn parse_transforms(reader: &mut Reader<'_>, count: u8) -> Result<Vec<Transform>, ParseError> {
    const WHAT: &str = "a transform";
    let mut transforms = Vec::with_capacity(count.into());
    for position in 1..=count {
        let (last, _reserved, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let content = reader.take(usize::from(length).checked_sub(4).ok_or(ParseError::Length(WHAT))?)?;
        if last != if position == count { 0 } else { 3 } {
            return Err(ParseError::Value(WHAT));
        }
        let mut content = Reader::new(content, WHAT);
        let (kind, _reserved, id) = (content.u8()?, content.u8()?, content.u16()?);
        let mut transform = Transform::new(kind, id);
        while !content.is_empty() {
            let (attribute, value) = (content.u16()?, content.u16()?);
            if attribute & 0x8000 == 0 {
                // Type/length/value form: `value` was the length. No attribute of this form is
                // defined.
                content.take(value.into())?;
                transform.not_understood = true;
            } else if attribute & 0x7fff == KEY_LENGTH_ATTRIBUTE && transform.key_bits.is_none() {
                transform.key_bits = Some(value);
            } else {
                transform.not_understood = true;
            }
        }
        transforms.push(transform);
    }
    if !reader.is_empty() {
        return Err(ParseError::Length(WHAT));
    }
    Ok(transforms)
}

/// The body of an SA payload.
pub(super) fn encode(proposals: &[Proposal]) -> Vec<u8> {
    let mut body = Vec::new();
    for (position, proposal) in proposals.iter().enumerate() {
        let mut content = vec![
            proposal.number,
            proposal.protocol,
            proposal.spi.len() as u8,
            proposal.transforms.len() as u8,
        ];
        content.extend_from_slice(&proposal.spi);
        for (position, transform) in proposal.transforms.iter().enumerate() {
            let last = position + 1 == proposal.transforms.len();
            let length: u8 = if transform.key_bits.is_some() { 12 } else { 8 };
            content.extend([if last { 0 } else { 3 }, 0, 0, length, transform.kind, 0]);
            content.extend(transform.id.to_be_bytes());
            if let Some(bits) = transform.key_bits {
                content.extend((0x8000 | KEY_LENGTH_ATTRIBUTE).to_be_bytes());
                content.extend(bits.to_be_bytes());
            }
        }
        let last = position + 1 == proposals.len();
        body.extend([if last { 0 } else { 2 }, 0]);
        body.extend((content.len() as u16 + 4).to_be_bytes());
        body.extend(content);
    }
    body
}
