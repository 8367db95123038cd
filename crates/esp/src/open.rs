//! Inbound: ESP packets become inner packets in the same frame (RFC 4303 §3.4).

use std::ops::Range;

use wire::{ParseError, ipv4, ipv6, parse, protocol};

use crate::Mode;
use crate::aead::{Aad, AeadBackend, AeadJob, AeadKey};
use crate::algorithm::{Other, Shape};
use crate::pass::{Pass, pass};
use crate::replay::{ReplayError, ReplayStore};
use crate::sa::{ESP_HEADER_LEN, InboundSa, TRAILER_LEN, nonce};
use crate::transport::{Header, fix_checksum};

/// Why a packet was not opened. The packet must be dropped; each variant is one drop counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// Shorter than ESP header, IV, trailer and ICV, or the range lies outside the frame.
    #[error("the ESP packet is truncated")]
    Truncated,
    /// The SPI is not the SA's.
    #[error("the SPI is not the SA's")]
    WrongSpi,
    /// Sequence number 0, or one that cannot exist.
    #[error("the sequence number is invalid")]
    BadSequence,
    /// The sequence number is left of the replay window.
    #[error("the sequence number is left of the replay window")]
    TooOld,
    /// The sequence number was received before.
    #[error("the packet was replayed")]
    Replayed,
    /// The integrity check failed.
    #[error("the integrity check failed")]
    AuthenticationFailed,
    /// The padding is longer than the packet or does not count 1, 2, 3, ... (RFC 4303 §2.4).
    #[error("the padding is malformed")]
    BadPadding,
    /// The next header is neither IPv4 nor IPv6, or contradicts the inner packet.
    #[error("the next header does not fit the SA")]
    BadNextHeader,
    /// A dummy packet (RFC 4303 §2.6): authentic and meant to be discarded.
    #[error("a dummy packet")]
    Dummy,
    /// The inner packet is malformed or longer than the payload.
    #[error("the inner packet is malformed")]
    BadInner,
    /// The outer header is marked congested, but the inner packet's transport does not understand
    /// it (RFC 6040 §4.2).
    #[error("congestion mark on a packet that is not ECN-capable")]
    EcnBroken,
}

impl OpenError {
    /// Whether the packet was authentic and new nevertheless: the peer is alive, and its replay
    /// state was committed.
    pub const fn is_authenticated(self) -> bool {
        matches!(
            self,
            Self::BadPadding | Self::BadNextHeader | Self::Dummy | Self::BadInner | Self::EcnBroken
        )
    }
}

impl From<ReplayError> for OpenError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Zero => Self::BadSequence,
            ReplayError::TooOld => Self::TooOld,
            ReplayError::Replayed => Self::Replayed,
        }
    }
}

/// An opened packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The inner IP packet's place in the frame, exactly its own length: padding and TFC padding
    /// (RFC 4303 §2.7) are outside.
    pub inner: Range<usize>,
    /// [`protocol::IPV4`] or [`protocol::IPV6`]; in transport mode the protocol of the payload.
    pub next_header: u8,
    /// The packet's full sequence number.
    pub sequence: u64,
}

/// One packet to open. `R` is the SA's replay state; several jobs of one SA share it by reference.
#[derive(Debug)]
pub struct OpenJob<'a, R> {
    sa: &'a InboundSa,
    replay: R,
    frame: &'a mut [u8],
    offset: usize,
    len: usize,
    outer_ecn: u8,
    /// Where the packet's own IP header begins, for transport mode.
    header_at: Option<usize>,
    sequence: u64,
    /// The text in the frame, IV and ICV excluded.
    text: (usize, usize),
    outcome: Result<Opened, OpenError>,
}

impl<'a, R: ReplayStore> OpenJob<'a, R> {
    /// The ESP packet `frame[offset..offset + len]`, from SPI to ICV (behind the UDP header when
    /// encapsulated). `outer_ecn` is the ECN field of the outer IP header.
    #[inline]
    pub fn new(
        sa: &'a InboundSa,
        replay: R,
        frame: &'a mut [u8],
        offset: usize,
        len: usize,
        outer_ecn: u8,
    ) -> Self {
        let outcome = Err(OpenError::Truncated);
        let header_at = None;
        Self { sa, replay, frame, offset, len, outer_ecn, header_at, sequence: 0, text: (0, 0), outcome }
    }

    /// Sets the offset of the packet's IP header in the frame. Required for an SA in transport
    /// mode.
    #[inline]
    #[must_use]
    pub const fn behind_header_at(mut self, offset: usize) -> Self {
        self.header_at = Some(offset);
        self
    }

    /// The result for the packet; an error before [`open()`] has run.
    #[inline]
    pub const fn outcome(&self) -> &Result<Opened, OpenError> {
        &self.outcome
    }

    #[inline(always)]
    fn pre_check(&self, shape: impl Shape) -> Result<u64, OpenError> {
        let sa = self.sa;
        let end = self.offset.checked_add(self.len).ok_or(OpenError::Truncated)?;
        let packet = self.frame.get(self.offset..end).ok_or(OpenError::Truncated)?;
        if packet.len() < ESP_HEADER_LEN + shape.iv_len() + TRAILER_LEN + shape.icv_len() {
            return Err(OpenError::Truncated);
        }
        let header = wire::esp::Packet::new_checked(packet).map_err(|_| OpenError::Truncated)?;
        if header.spi() != sa.spi {
            return Err(OpenError::WrongSpi);
        }
        let sequence = sa.window.infer(&self.replay, header.sequence()).ok_or(OpenError::BadSequence)?;
        sa.window.check(&self.replay, sequence)?;
        Ok(sequence)
    }

    #[inline(always)]
    fn aead_job<'j>(&'j mut self, shape: impl Shape, aad: &'j mut Aad) -> Option<AeadJob<'j>> {
        let sa = self.sa;
        let end = self.offset + self.len;
        self.text = (self.offset + ESP_HEADER_LEN + shape.iv_len(), end - shape.icv_len());
        let packet = self.frame.get_mut(self.offset..end)?;
        debug_assert_eq!(packet[..4], sa.spi.to_be_bytes());
        // Half of a 16-byte IV is enough here: only CBC has one, and it does not use the nonce.
        let iv = *packet.get(ESP_HEADER_LEN..)?.first_chunk::<8>()?;
        let before_data = ESP_HEADER_LEN + if shape.data_has_iv() { 0 } else { shape.iv_len() };
        let rest = packet.get_mut(before_data..)?;
        let (data, tag) = rest.split_at_mut(rest.len() - shape.icv_len());
        *aad = if sa.window.is_extended() {
            Aad::new_extended(sa.spi, self.sequence)
        } else {
            Aad::new(sa.spi, self.sequence as u32)
        };
        Some(AeadJob { key: &sa.key, nonce: nonce(&sa.salt, iv), aad, data, tag })
    }

    /// Transport mode: the IP header moves up to what it carries (RFC 4303 §3.1.1).
    fn restore(&mut self) -> Result<Opened, OpenError> {
        let (start, end) = self.text;
        let header_at = self.header_at.ok_or(OpenError::BadInner)?;
        let outer = self.frame.get(header_at..self.offset + self.len).ok_or(OpenError::BadInner)?;
        let header = Header::read(outer)
            .filter(|header| header_at + header.len <= self.offset)
            .ok_or(OpenError::BadInner)?;
        let plaintext = self.frame.get_mut(start..end).ok_or(OpenError::Truncated)?;
        let (payload, next_header) = strip_trailer(plaintext)?;
        if next_header == protocol::NO_NEXT_HEADER {
            return Err(OpenError::Dummy);
        }
        let inner = start - header.len..start + payload.len();
        self.frame.copy_within(header_at..header_at + header.len, inner.start);
        let packet = self.frame.get_mut(inner.clone()).ok_or(OpenError::BadInner)?;
        if !header.rewrite(packet, next_header) {
            return Err(OpenError::BadInner);
        }
        if header_at + header.len != self.offset {
            fix_checksum(packet);
        }
        Ok(Opened { inner, next_header, sequence: self.sequence })
    }

    fn decapsulate(&mut self) -> Result<Opened, OpenError> {
        let (start, end) = self.text;
        let plaintext = self.frame.get_mut(start..end).ok_or(OpenError::Truncated)?;
        let (payload, next_header) = strip_trailer(plaintext)?;
        let inner = match next_header {
            protocol::IPV4 => parse::ipv4_at(&*payload, 0),
            protocol::IPV6 => parse::ipv6_at(&*payload, 0),
            protocol::NO_NEXT_HEADER => return Err(OpenError::Dummy),
            _ => return Err(OpenError::BadNextHeader),
        };
        let inner = inner.map_err(|error| match error {
            ParseError::BadVersion => OpenError::BadNextHeader,
            _ => OpenError::BadInner,
        })?;
        let inner_len = inner.total_len as usize;
        let packet = payload.get_mut(..inner_len).ok_or(OpenError::BadInner)?;
        let ecn = decapsulated_ecn(inner.ecn(), self.outer_ecn).ok_or(OpenError::EcnBroken)?;
        if ecn != inner.ecn() {
            let traffic_class = inner.traffic_class & 0xfc | ecn;
            if inner.is_ipv4() {
                ipv4::Packet::new_checked(packet).map_err(|_| OpenError::BadInner)?.update_tos(traffic_class);
            } else {
                ipv6::Packet::new_checked(packet)
                    .map_err(|_| OpenError::BadInner)?
                    .set_traffic_class(traffic_class);
            }
        }
        Ok(Opened { inner: start..start + inner_len, next_header, sequence: self.sequence })
    }
}

impl<R: ReplayStore> Pass for OpenJob<'_, R> {
    #[inline]
    fn key(&self) -> (&AeadKey, usize) {
        (&self.sa.key, self.len)
    }

    #[inline]
    fn shape(&self) -> Option<Other> {
        self.sa.shape
    }

    /// Everything before decryption: lengths, SPI, sequence number, replay pre-check.
    #[inline(always)]
    fn prepare<'j, S: Shape>(&'j mut self, shape: S, aad: &'j mut Aad) -> Option<AeadJob<'j>> {
        match self.pre_check(shape) {
            Ok(sequence) => {
                self.sequence = sequence;
                self.outcome = Err(OpenError::AuthenticationFailed);
                self.aead_job(shape, aad)
            }
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }

    /// Everything after authentication: first commits the replay state, then checks the inner
    /// packet.
    #[inline]
    fn finish(&mut self) {
        self.outcome =
            self.sa.window.commit(&self.replay, self.sequence).map_err(OpenError::from).and_then(|()| {
                match self.sa.mode {
                    Mode::Tunnel => self.decapsulate(),
                    Mode::Transport => self.restore(),
                }
            });
    }
}

/// Opens a burst in place. Jobs of several SAs may be mixed; replay state is committed per packet
/// in the order of the slice, so of two copies in one burst the first wins. Each job's
/// [`outcome`](OpenJob::outcome) has its result.
pub fn open<R: ReplayStore>(backend: AeadBackend, jobs: &mut [OpenJob<'_, R>]) {
    pass(jobs, |burst| burst.open(backend));
}

/// Checks and removes padding, pad length and next header.
fn strip_trailer(plaintext: &mut [u8]) -> Result<(&mut [u8], u8), OpenError> {
    let (rest, &mut [pad_len, next_header]) =
        plaintext.split_last_chunk_mut::<TRAILER_LEN>().ok_or(OpenError::BadPadding)?;
    let payload_len = rest.len().checked_sub(usize::from(pad_len)).ok_or(OpenError::BadPadding)?;
    let (payload, padding) = rest.split_at_mut(payload_len);
    if (1..=pad_len).ne(padding.iter().copied()) {
        return Err(OpenError::BadPadding);
    }
    Ok((payload, next_header))
}

/// The ECN field of the packet that leaves the tunnel (RFC 6040 §4.2, figure 4); `None`: drop.
const fn decapsulated_ecn(inner: u8, outer: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    match (inner, outer & 3) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

#[cfg(test)]
mod tests;
