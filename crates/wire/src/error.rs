//! The one error of views and builders.

use core::fmt;

/// Why a view or a builder refused a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireError {
    /// The slice is shorter than the header, or than the length that the header states.
    Truncated,
    /// A field has a value that the protocol does not allow (version, header length, hardware type,
    /// ...).
    Malformed,
    /// The slice handed to a builder is too short for what is to be written.
    NoRoom,
    /// A value handed to a builder does not fit its field (a length beyond 65535, options longer
    /// than 40 bytes).
    OutOfRange,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the packet is shorter than its header says",
            Self::Malformed => "a header field has a value that is not allowed",
            Self::NoRoom => "the buffer is too short for the header",
            Self::OutOfRange => "a value does not fit its header field",
        })
    }
}

impl core::error::Error for WireError {}
