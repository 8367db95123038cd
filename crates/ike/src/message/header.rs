//! The fixed header (RFC 7296 §3.1).

use std::fmt;

use super::ParseError;
use super::reader::Reader;

/// Octets of the header.
pub(crate) const HEADER_LEN: usize = 28;

/// Exchange types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    IkeSaInit,
    IkeAuth,
    CreateChildSa,
    Informational,
    /// RFC 9242.
    IkeIntermediate,
    /// RFC 9370 §2.2.4.
    IkeFollowupKe,
    Other(u8),
}

impl Exchange {
    pub(crate) fn number(self) -> u8 {
        match self {
            Exchange::IkeSaInit => 34,
            Exchange::IkeAuth => 35,
            Exchange::CreateChildSa => 36,
            Exchange::Informational => 37,
            Exchange::IkeIntermediate => 43,
            Exchange::IkeFollowupKe => 44,
            Exchange::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            34 => Exchange::IkeSaInit,
            35 => Exchange::IkeAuth,
            36 => Exchange::CreateChildSa,
            37 => Exchange::Informational,
            43 => Exchange::IkeIntermediate,
            44 => Exchange::IkeFollowupKe,
            other => Exchange::Other(other),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exchange::IkeSaInit => f.write_str("IKE_SA_INIT"),
            Exchange::IkeAuth => f.write_str("IKE_AUTH"),
            Exchange::CreateChildSa => f.write_str("CREATE_CHILD_SA"),
            Exchange::Informational => f.write_str("INFORMATIONAL"),
            Exchange::IkeIntermediate => f.write_str("IKE_INTERMEDIATE"),
            Exchange::IkeFollowupKe => f.write_str("IKE_FOLLOWUP_KE"),
            Exchange::Other(number) => write!(f, "exchange {number}"),
        }
    }
}

/// Header flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Sent by the original initiator of the IKE SA.
    pub(crate) initiator: bool,
    /// A response.
    pub(crate) response: bool,
}

/// The fixed header. `length` is not kept: it is checked on reading and computed on writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) spi_i: u64,
    pub(crate) spi_r: u64,
    pub(crate) next_payload: u8,
    pub(crate) major: u8,
    pub(crate) exchange: Exchange,
    pub(crate) flags: Flags,
    pub(crate) message_id: u32,
}

impl Header {
    /// Reads the header of a whole datagram, without the non-ESP marker.
    ///
    /// The length field must be that of the datagram. The minor version and the version flag are
    /// ignored, as are the reserved flags (RFC 7296 §3.1). The major version is checked by the
    /// caller (§2.5).
    pub(crate) fn parse(datagram: &[u8]) -> Result<Header, ParseError> {
        let mut reader = Reader::new(datagram, "the IKE header");
        let (spi_i, spi_r) = (reader.u64()?, reader.u64()?);
        let (next_payload, version, exchange, flags) =
            (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let (message_id, length) = (reader.u32()?, reader.u32()?);
        if usize::try_from(length) != Ok(datagram.len()) {
            return Err(ParseError::Length("the IKE message"));
        }
        // RFC 7296 §3.1: the initiator's SPI is never zero.
        if spi_i == 0 {
            return Err(ParseError::Value("the initiator's SPI"));
        }
        Ok(Header {
            spi_i,
            spi_r,
            next_payload,
            major: version >> 4,
            exchange: Exchange::from_number(exchange),
            flags: Flags { initiator: flags & 0x08 != 0, response: flags & 0x20 != 0 },
            message_id,
        })
    }

    /// The header of a message of `length` octets in all.
    pub(crate) fn encode(&self, length: usize) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&self.spi_i.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.spi_r.to_be_bytes());
        bytes[16] = self.next_payload;
        bytes[17] = self.major << 4;
        bytes[18] = self.exchange.number();
        bytes[19] = u8::from(self.flags.initiator) << 3 | u8::from(self.flags.response) << 5;
        bytes[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        bytes[24..28].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        bytes
    }
}
