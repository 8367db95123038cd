//! IKE messages as bytes and as values (RFC 7296 §3). Independent of keys and state.

mod header;
mod notify;
mod payload;
mod proposal;
mod reader;
mod selectors;
#[cfg(test)]
mod tests;

pub(crate) use header::{Exchange, Flags, HEADER_LEN, Header};
pub(crate) use notify::{Notify, notify_type, protocol};
pub(crate) use payload::{DeletePayload, Payload, encode, parse, payload_type, split};
pub(crate) use proposal::{Proposal, Transform, transform_type};
pub(crate) use selectors::{encode as encode_selectors, parse as parse_selectors};

/// Why bytes are not an IKE message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// Something ends before its content does.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// A length field contradicts the bytes or the format.
    #[error("{0} has an impossible length")]
    Length(&'static str),
    /// A value that the format does not allow.
    #[error("{0} has an impossible value")]
    Value(&'static str),
    /// A critical payload of unknown type (RFC 7296 §2.5).
    #[error("payload type {0} is critical and not supported")]
    UnsupportedCritical(u8),
    /// More elements than any valid message needs; a bound on work and memory.
    #[error("too many {0}")]
    TooMany(&'static str),
}
