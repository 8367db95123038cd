//! Security associations as the packet path uses them: expanded key, outer header template, replay
//! window.

use zeroize::Zeroizing;

use crate::algorithm::Other;
use crate::iv::RandomIv;
use crate::outer::{OuterParameters, OuterTemplate};
use crate::{AeadBackend, AeadKey, EspAlgorithm, KeyError, Mode, ReplayWindow};

/// Why an SA cannot be created from its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaError {
    /// The key does not fit the algorithm.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// SPI 0..=255 is reserved (RFC 4303 §2.1).
    #[error("SPI {0:#x} is reserved: choose one above 255")]
    ReservedSpi(u32),
    /// Source and destination of the tunnel are of different IP versions.
    #[error("tunnel source and destination must be of one IP version")]
    MixedVersions,
    /// A DSCP above 63.
    #[error("DSCP {0} is out of range 0..=63")]
    Dscp(u8),
    /// The window is no power of two in 64..=4096, or replay detection is off although sequence
    /// numbers are extended.
    #[error(
        "replay window of {0} packets: give a power of two from 64 to 4096, or 0 without extended sequence numbers"
    )]
    ReplayWindow(u32),
}

/// Parameters of an outbound SA. Borrowed, so that the caller decides where keys are stored and
/// erases them.
#[derive(Clone, Copy)]
pub struct OutboundParameters<'a> {
    /// SPI that the peer chose.
    pub spi: u32,
    /// Cipher and integrity.
    pub algorithm: EspAlgorithm,
    /// Key of the cipher and behind it that of the HMAC, [`EspAlgorithm::key_len`] bytes.
    pub key: &'a [u8],
    /// Salt, the last bytes of the keying material; not used where [`EspAlgorithm::salt_len`] is 0.
    pub salt: [u8; 4],
    /// Extended sequence numbers were negotiated.
    pub extended_sequence: bool,
    /// Mode.
    pub mode: Mode,
    /// If [`EspAlgorithm::needs_random_iv`] is true: bytes of a cryptographic random source, drawn
    /// for this value alone. Not used otherwise.
    pub iv_key: [u8; 16],
    /// Outer header.
    pub outer: OuterParameters,
}

/// An SA for sending. Built once when a worker first uses the slot; erased on drop.
pub struct OutboundSa {
    pub(crate) spi: u32,
    pub(crate) extended: bool,
    pub(crate) algorithm: EspAlgorithm,
    pub(crate) shape: Option<Other>,
    pub(crate) salt: Zeroizing<[u8; 4]>,
    pub(crate) key: AeadKey,
    pub(crate) random_iv: Option<RandomIv>,
    pub(crate) outer: OuterTemplate,
    mode: Mode,
}

impl OutboundSa {
    /// Expands the key with `backend` and prebuilds the outer header.
    pub fn new(backend: AeadBackend, parameters: &OutboundParameters<'_>) -> Result<Self, SaError> {
        check_spi(parameters.spi)?;
        Ok(Self {
            spi: parameters.spi,
            extended: parameters.extended_sequence,
            algorithm: parameters.algorithm,
            shape: Other::of(parameters.algorithm, parameters.mode),
            salt: Zeroizing::new(parameters.salt),
            key: backend.expand(parameters.algorithm, parameters.key)?,
            random_iv: parameters.algorithm.needs_random_iv().then(|| RandomIv::new(&parameters.iv_key)),
            outer: outer_template(parameters.outer)?,
            mode: parameters.mode,
        })
    }

    /// The SPI.
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// The parameters of the outer header.
    pub const fn outer(&self) -> &OuterParameters {
        self.outer.parameters()
    }

    /// Replaces the outer header, for example when the peer's NAT mapping changed.
    pub fn set_outer(&mut self, outer: OuterParameters) -> Result<(), SaError> {
        self.outer = outer_template(outer)?;
        Ok(())
    }

    /// The last sequence number that may be sent under this key: 2^32 − 1, or 2^64 − 1 when
    /// extended.
    pub const fn sequence_limit(&self) -> u64 {
        if self.extended { u64::MAX } else { u32::MAX as u64 }
    }

    /// Tunnel or transport mode.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Bytes by which [`crate::seal()`] makes a packet longer at its front: outer header (in
    /// transport mode only that of UDP), ESP header and IV.
    pub const fn headroom(&self) -> usize {
        let outer = match self.mode {
            Mode::Tunnel => self.outer.len(),
            Mode::Transport => self.outer.udp_len(),
        };
        outer + ESP_HEADER_LEN + self.algorithm.iv_len()
    }

    /// Length of the outer IP packet for an inner packet of `inner_len` bytes; in transport mode
    /// for one whose header has no options and no extension headers.
    pub const fn sealed_len(&self, inner_len: usize) -> usize {
        let kept = self.kept_header_len();
        let text_len = padded_len(self.algorithm.alignment(), inner_len.saturating_sub(kept));
        self.headroom() + kept + text_len + self.algorithm.icv_len()
    }

    /// Bytes of the packet's own header that stay in clear.
    const fn kept_header_len(&self) -> usize {
        match self.mode {
            Mode::Tunnel => 0,
            Mode::Transport => self.outer.ip_len(),
        }
    }

    /// The longest inner packet whose outer packet is at most `mtu` bytes: the MTU that senders
    /// behind the tunnel see. 0 when not even the headers fit.
    pub const fn max_inner_len(&self, mtu: usize) -> usize {
        let kept = self.kept_header_len();
        let room = mtu.saturating_sub(self.headroom() + kept + self.algorithm.icv_len());
        match (room - room % self.algorithm.alignment()).checked_sub(TRAILER_LEN) {
            Some(text_len) => kept + text_len,
            None => 0,
        }
    }
}

impl std::fmt::Debug for OutboundSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundSa")
            .field("spi", &format_args!("{:#010x}", self.spi))
            .field("key", &self.key)
            .field("extended", &self.extended)
            .field("outer", self.outer.parameters())
            .finish_non_exhaustive()
    }
}

/// Parameters of an inbound SA.
#[derive(Clone, Copy)]
pub struct InboundParameters<'a> {
    /// SPI that we chose.
    pub spi: u32,
    /// Cipher and integrity.
    pub algorithm: EspAlgorithm,
    /// Key of the cipher and behind it that of the HMAC, [`EspAlgorithm::key_len`] bytes.
    pub key: &'a [u8],
    /// Salt, the last bytes of the keying material; not used where [`EspAlgorithm::salt_len`] is 0.
    pub salt: [u8; 4],
    /// Extended sequence numbers were negotiated.
    pub extended_sequence: bool,
    /// Replay window in packets: a power of two in 64..=4096, or 0 for none (see
    /// [`ReplayWindow::new`]).
    pub replay_window: u32,
    /// Mode.
    pub mode: Mode,
}

/// An SA for receiving. Built once when a worker first uses the slot; erased on drop.
pub struct InboundSa {
    pub(crate) spi: u32,
    pub(crate) shape: Option<Other>,
    pub(crate) salt: Zeroizing<[u8; 4]>,
    pub(crate) key: AeadKey,
    pub(crate) window: ReplayWindow,
    pub(crate) mode: Mode,
}

impl InboundSa {
    /// Expands the key with `backend`.
    pub fn new(backend: AeadBackend, parameters: &InboundParameters<'_>) -> Result<Self, SaError> {
        check_spi(parameters.spi)?;
        Ok(Self {
            spi: parameters.spi,
            shape: Other::of(parameters.algorithm, parameters.mode),
            salt: Zeroizing::new(parameters.salt),
            key: backend.expand(parameters.algorithm, parameters.key)?,
            window: ReplayWindow::new(parameters.replay_window, parameters.extended_sequence)
                .ok_or(SaError::ReplayWindow(parameters.replay_window))?,
            mode: parameters.mode,
        })
    }

    /// The SPI.
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// The anti-replay service, which defines the number of words of storage.
    pub const fn replay_window(&self) -> ReplayWindow {
        self.window
    }
}

impl std::fmt::Debug for InboundSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundSa")
            .field("spi", &format_args!("{:#010x}", self.spi))
            .field("key", &self.key)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// SPI and sequence number.
pub(crate) const ESP_HEADER_LEN: usize = 8;
/// Pad length and next header.
pub(crate) const TRAILER_LEN: usize = 2;

/// Bytes of payload, padding and trailer. `alignment` is a power of two.
#[inline(always)]
pub(crate) const fn padded_len(alignment: usize, payload_len: usize) -> usize {
    (payload_len + TRAILER_LEN + alignment - 1) & !(alignment - 1)
}

/// Salt ‖ IV, where the IV is the 64-bit number that the packet carries.
#[inline]
pub(crate) fn nonce(salt: &[u8; 4], iv: [u8; 8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(salt);
    nonce[4..].copy_from_slice(&iv);
    nonce
}

const fn check_spi(spi: u32) -> Result<(), SaError> {
    if spi <= 255 { Err(SaError::ReservedSpi(spi)) } else { Ok(()) }
}

fn outer_template(outer: OuterParameters) -> Result<OuterTemplate, SaError> {
    if let crate::DscpPolicy::Fixed(dscp) = outer.dscp
        && dscp > 63
    {
        return Err(SaError::Dscp(dscp));
    }
    OuterTemplate::new(outer).ok_or(SaError::MixedVersions)
}

#[cfg(test)]
mod tests;
