//! Encoding of plain fields: big-endian, lengths before contents.

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use super::RestoreError;
use crate::secret::Secret;
use crate::time::Time;

/// Initial capacity, seldom exceeded: growing would leave copies of keys in freed memory, so the
/// old buffer is erased on each growth and by `finish`.
const USUAL_SIZE: usize = 4096;

pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn new() -> Self {
        Writer(Zeroizing::new(Vec::with_capacity(USUAL_SIZE)))
    }

    pub(super) fn finish(self) -> Secret {
        Secret::from(&self.0[..])
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.0.len() + bytes.len() > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + bytes.len()) * 2));
            larger.extend_from_slice(&self.0);
            // The old buffer is erased as it is dropped.
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.push(&[value]);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.push(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.push(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.push(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.push(bytes);
    }

    pub(super) fn packets(&mut self, packets: &[Vec<u8>]) {
        self.u32(packets.len() as u32);
        packets.iter().for_each(|packet| self.bytes(packet));
    }

    /// `None` is encoded as the largest time, which no deadline reaches.
    pub(super) fn time(&mut self, time: Option<Time>) {
        self.u64(time.map_or(u64::MAX, Time::as_millis));
    }

    pub(super) fn endpoint(&mut self, endpoint: SocketAddr) {
        match endpoint.ip() {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
        self.u16(endpoint.port());
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(record: &'a [u8]) -> Self {
        Reader(record)
    }

    /// Fails if bytes are left.
    pub(super) fn end(&self) -> Result<(), RestoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(RestoreError::Damaged) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RestoreError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(RestoreError::Damaged)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        self.take(N)?.try_into().map_err(|_| RestoreError::Damaged)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RestoreError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, RestoreError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RestoreError::Damaged),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, RestoreError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RestoreError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RestoreError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RestoreError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| RestoreError::Damaged)?)
    }

    pub(super) fn packets(&mut self) -> Result<Vec<Vec<u8>>, RestoreError> {
        (0..self.u32()?).map(|_| self.bytes().map(<[u8]>::to_vec)).collect()
    }

    pub(super) fn time(&mut self) -> Result<Option<Time>, RestoreError> {
        Ok(Some(self.u64()?).filter(|&time| time != u64::MAX).map(Time::from_millis))
    }

    pub(super) fn endpoint(&mut self) -> Result<SocketAddr, RestoreError> {
        let address = match *self.bytes()? {
            [a, b, c, d] => IpAddr::from([a, b, c, d]),
            ref bytes => IpAddr::from(<[u8; 16]>::try_from(bytes).map_err(|_| RestoreError::Damaged)?),
        };
        Ok(SocketAddr::new(address, self.u16()?))
    }
}
