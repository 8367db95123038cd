//! Reads big-endian fields from a slice; every access is bounds-checked.

use super::ParseError;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Name of the structure being read, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { bytes, what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], ParseError> {
        let (head, tail) = self.bytes.split_at_checked(length).ok_or(ParseError::Truncated(self.what))?;
        self.bytes = tail;
        Ok(head)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let what = self.what;
        <[u8; N]>::try_from(self.take(N)?).map_err(|_| ParseError::Truncated(what))
    }
}
