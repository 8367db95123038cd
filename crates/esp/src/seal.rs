//! Outbound: inner packets become ESP packets in the same frame (RFC 4303 §3.3).

use crate::SequenceNumber;
use crate::aead::{Aad, AeadBackend, AeadJob, AeadKey};
use crate::algorithm::{Other, Shape};
use crate::outer::InnerFields;
use crate::pass::{Pass, pass};
use crate::sa::{ESP_HEADER_LEN, OutboundSa, TRAILER_LEN, nonce, padded_len};
use crate::transport::Header;

/// Why a packet was not sealed. The packet must be dropped; its sequence number is used up, which
/// is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// The inner packet's range lies outside the frame, or does not start with a complete IPv4 or
    /// IPv6 header.
    #[error("the inner packet is no IP packet")]
    BadInner,
    /// A fragment, which transport mode does not carry (RFC 4303 §3.3.4).
    #[error("transport mode carries no fragments")]
    Fragment,
    /// Less than [`OutboundSa::headroom`] bytes in front of the inner packet.
    #[error("the frame has too little headroom")]
    NoHeadroom,
    /// Too few bytes behind the inner packet for padding, trailer and ICV.
    #[error("the frame has too little tailroom")]
    NoTailroom,
    /// The outer packet would exceed 65535 bytes.
    #[error("the outer packet would exceed 65535 bytes")]
    TooLong,
    /// The sequence number is beyond the SA's limit: it was drawn for another SA or with another
    /// limit.
    #[error("the sequence number is beyond the SA's limit")]
    SequenceExhausted,
    /// The AEAD refused the packet.
    #[error("the cipher refused the packet")]
    Cipher,
}

/// Where the outer IP packet lies in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Offset of the outer IP header.
    pub offset: usize,
    /// Length of the outer IP packet.
    pub len: usize,
}

/// One packet to seal.
#[derive(Debug)]
pub struct SealJob<'a> {
    sa: &'a OutboundSa,
    sequence: SequenceNumber,
    frame: &'a mut [u8],
    offset: usize,
    len: usize,
    /// The position of the packet after it is sealed.
    place: Sealed,
    outcome: Result<Sealed, SealError>,
}

impl<'a> SealJob<'a> {
    /// The inner IP packet `frame[offset..offset + len]` for `sa`, whose source `sequence` was
    /// drawn from. The frame is the whole buffer: bytes around the packet are overwritten
    /// ([`crate::MAX_HEADROOM`], [`crate::MAX_TAILROOM`]).
    #[inline]
    pub fn new(
        sa: &'a OutboundSa,
        sequence: SequenceNumber,
        frame: &'a mut [u8],
        offset: usize,
        len: usize,
    ) -> Self {
        let place = Sealed { offset, len };
        Self { sa, sequence, frame, offset, len, place, outcome: Err(SealError::BadInner) }
    }

    /// The result for the packet. Before [`seal()`] has run, and for a packet that was not sealed,
    /// an error: a frame that was not sealed cannot be mistaken for one that was.
    #[inline]
    pub const fn outcome(&self) -> Result<Sealed, SealError> {
        self.outcome
    }

    #[inline]
    fn layout(&self, shape: impl Shape) -> Result<Layout, SealError> {
        let inner_end = self.offset.checked_add(self.len).ok_or(SealError::BadInner)?;
        let inner = self.frame.get(self.offset..inner_end).ok_or(SealError::BadInner)?;
        let fields = InnerFields::read(inner).ok_or(SealError::BadInner)?;
        if shape.is_transport() {
            return self.transport_layout(shape, fields, inner_end);
        }
        let headroom = self.sa.outer.len() + ESP_HEADER_LEN + shape.iv_len();
        let start = self.offset.checked_sub(headroom).ok_or(SealError::NoHeadroom)?;
        let ciphertext_end = self.offset + padded_len(shape.alignment(), self.len);
        let end = ciphertext_end + shape.icv_len();
        if end > self.frame.len() {
            return Err(SealError::NoTailroom);
        }
        if self.sequence.value() > self.sa.sequence_limit() {
            return Err(SealError::SequenceExhausted);
        }
        let esp = start + self.sa.outer.len();
        Ok(Layout { start, esp, text: self.offset, inner_end, ciphertext_end, end, fields, header: None })
    }

    /// The packet's own header moves to the front; the text begins behind it.
    fn transport_layout(
        &self,
        shape: impl Shape,
        fields: InnerFields,
        inner_end: usize,
    ) -> Result<Layout, SealError> {
        let inner = self.frame.get(self.offset..inner_end).ok_or(SealError::BadInner)?;
        let outer = &self.sa.outer;
        // The UDP checksum over IPv6 is computed for a header without extensions.
        let header = Header::read(inner)
            .filter(|header| header.total_len == self.len)
            .filter(|header| header.len == outer.ip_len() || !outer.needs_udp_checksum())
            .ok_or(SealError::BadInner)?;
        if header.is_fragment() {
            return Err(SealError::Fragment);
        }
        let start = self.offset.checked_sub(self.sa.headroom()).ok_or(SealError::NoHeadroom)?;
        let text = self.offset + header.len;
        let ciphertext_end = text + padded_len(shape.alignment(), self.len - header.len);
        let end = ciphertext_end + shape.icv_len();
        if end > self.frame.len() {
            return Err(SealError::NoTailroom);
        }
        if self.sequence.value() > self.sa.sequence_limit() {
            return Err(SealError::SequenceExhausted);
        }
        let esp = start + header.len + outer.udp_len();
        let fields = InnerFields { next_header: header.protocol, ..fields };
        Ok(Layout { start, esp, text, inner_end, ciphertext_end, end, fields, header: Some(header) })
    }
}

impl Pass for SealJob<'_> {
    #[inline]
    fn key(&self) -> (&AeadKey, usize) {
        (&self.sa.key, self.len)
    }

    #[inline]
    fn shape(&self) -> Option<Other> {
        self.sa.shape
    }

    /// Writes everything but ciphertext, ICV and UDP checksum, and returns the inputs of the AEAD.
    #[inline(always)]
    fn prepare<'j, S: Shape>(&'j mut self, shape: S, aad: &'j mut Aad) -> Option<AeadJob<'j>> {
        match self.layout(shape) {
            Ok(layout) => {
                // Reported as failed until the AEAD has done its part.
                self.outcome = Err(SealError::Cipher);
                self.place = Sealed { offset: layout.start, len: layout.end - layout.start };
                let job = write_packet(self.sa, shape, &self.sequence, self.frame, &layout, aad);
                if job.is_none() {
                    self.outcome = Err(SealError::TooLong);
                }
                job
            }
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }

    /// The outer packet's place, for a job that [`Self::prepare`] has accepted and the AEAD has
    /// sealed.
    #[inline]
    fn finish(&mut self) {
        let place = self.place;
        if self.sa.outer.needs_udp_checksum()
            && let Some(packet) = self.frame.get_mut(place.offset..place.offset + place.len)
        {
            self.sa.outer.write_udp_checksum(packet);
        }
        self.outcome = Ok(place);
    }
}

/// Offsets in the frame, in ascending order; all verified to lie inside it.
struct Layout {
    start: usize,
    /// The ESP header.
    esp: usize,
    /// What is encrypted: the inner packet, or what its header carries.
    text: usize,
    inner_end: usize,
    ciphertext_end: usize,
    end: usize,
    fields: InnerFields,
    /// The packet's own header, in transport mode.
    header: Option<Header>,
}

/// Seals a burst in place. Jobs of several SAs may be mixed; each job's
/// [`outcome`](SealJob::outcome) has its result.
pub fn seal(backend: AeadBackend, jobs: &mut [SealJob<'_>]) {
    pass(jobs, |burst| burst.seal(backend));
}

#[inline(always)]
fn write_packet<'f>(
    sa: &'f OutboundSa,
    shape: impl Shape,
    sequence: &SequenceNumber,
    frame: &'f mut [u8],
    layout: &Layout,
    aad: &'f mut Aad,
) -> Option<AeadJob<'f>> {
    let number = sequence.value();
    let pad_len = layout.ciphertext_end - layout.inner_end - TRAILER_LEN;
    let trailer = frame.get_mut(layout.inner_end..layout.ciphertext_end)?;
    for (value, byte) in (1..).zip(&mut trailer[..pad_len]) {
        *byte = value;
    }
    trailer[pad_len] = pad_len as u8;
    trailer[pad_len + 1] = layout.fields.next_header;

    if shape.is_transport() {
        let header = layout.header.as_ref()?;
        frame.copy_within(layout.text - header.len..layout.text, layout.start);
        let packet = frame.get_mut(layout.start..layout.end)?;
        if !sa.outer.write_transport(packet, header) {
            return None;
        }
    } else {
        let outer = frame.get_mut(layout.start..layout.esp)?;
        if !sa.outer.write(outer, &layout.fields, layout.end - layout.esp, number) {
            return None;
        }
    }
    let (esp, body) = frame.get_mut(layout.esp..layout.end)?.split_at_mut_checked(ESP_HEADER_LEN)?;
    let (iv_field, _) = body.split_at_mut_checked(shape.iv_len())?;
    let iv = number.to_be_bytes();
    esp[..4].copy_from_slice(&sa.spi.to_be_bytes());
    esp[4..].copy_from_slice(&(number as u32).to_be_bytes());
    match &sa.random_iv {
        Some(random) if shape.data_has_iv() => iv_field.copy_from_slice(&random.of(number)),
        _ => iv_field.copy_from_slice(&iv[..shape.iv_len()]),
    }
    // The data begin with the text, or with the IV in front of it.
    let data_start = if shape.data_has_iv() { 0 } else { shape.iv_len() };
    let (body, tag) = body.split_at_mut_checked(layout.ciphertext_end - layout.esp - ESP_HEADER_LEN)?;
    let data = body.get_mut(data_start..)?;
    *aad = if sa.extended { Aad::new_extended(sa.spi, number) } else { Aad::new(sa.spi, number as u32) };
    Some(AeadJob { key: &sa.key, nonce: nonce(&sa.salt, iv), aad, data, tag })
}

#[cfg(test)]
mod tests;
