//! The AEAD interface: processes a burst of messages, each with its own key schedule.
//!
//! A backend is chosen by name when the process starts and expands every key that is installed
//! afterwards. The packet path pushes one [`AeadJob`] per packet into an [`AeadBurst`]; text and
//! tag are borrowed from the frame, and a job for the batch kernel is built in the kernel's own
//! form straight away, so nothing is copied. An algorithm that a backend lacks is served by
//! `aes-gcm` in the same burst.
//!
//! Algorithms that authenticate the IV with the text (AES-CBC and NULL with HMAC, GMAC) fit the
//! same job: `data` then begins with the IV. They are processed one message at a time, outside of
//! the batch kernel.

mod burst;
mod encrypt_then_mac;
mod gmac;
mod rustcrypto;

use aes_gcm_batch::{Backend as Kernel, Engine, EngineError, KeySchedule};

pub use burst::{AeadBurst, Ticket, Verdicts};

use crate::{EspAlgorithm, KeyError};

/// Additional authenticated data of RFC 4106 §5: SPI and sequence number, 8 bytes, or 12 with an
/// extended one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aad {
    bytes: [u8; 12],
    extended: bool,
}

impl Aad {
    /// AAD of a 32-bit sequence number.
    #[inline]
    pub fn new(spi: u32, sequence: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
        Self { bytes, extended: false }
    }

    /// AAD of an extended sequence number.
    #[inline]
    pub fn new_extended(spi: u32, sequence: u64) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        bytes[4..].copy_from_slice(&sequence.to_be_bytes());
        Self { bytes, extended: true }
    }

    /// The bytes to authenticate.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.extended { &self.bytes } else { &self.bytes[..8] }
    }

    /// SPI and the 32 bits of the sequence number that the packet carries: the beginning of the
    /// HMAC's input.
    fn spi_and_sequence(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.bytes[..4]);
        bytes[4..].copy_from_slice(if self.extended { &self.bytes[8..] } else { &self.bytes[4..8] });
        bytes
    }

    /// The 32 bits of an extended sequence number that are not sent: the end of the HMAC's input
    /// (RFC 4303 §2.2.1). Empty otherwise.
    fn upper_half(&self) -> &[u8] {
        if self.extended { &self.bytes[4..8] } else { &[] }
    }
}

/// One message of a burst.
#[derive(Debug)]
pub struct AeadJob<'a> {
    /// Key schedule, expanded by [`AeadBackend::expand`].
    pub key: &'a AeadKey,
    /// Salt ‖ IV; not used by AES-CBC and NULL.
    pub nonce: [u8; 12],
    /// Additional authenticated data.
    pub aad: &'a Aad,
    /// Plaintext to encrypt or ciphertext to decrypt, in place; behind the IV for AES-CBC and GMAC.
    pub data: &'a mut [u8],
    /// Where sealing writes the ICV and opening reads it; [`EspAlgorithm::icv_len`] bytes.
    pub tag: &'a mut [u8],
}

/// An expanded key, bound to the backend that expanded it.
///
/// Erased on drop.
pub struct AeadKey {
    algorithm: EspAlgorithm,
    schedule: Schedule,
}

#[allow(
    clippy::large_enum_variant,
    reason = "a schedule is read per packet: no pointer between SA and round keys"
)]
enum Schedule {
    RustCrypto(rustcrypto::Key),
    Batch(KeySchedule),
    EncryptThenMac(encrypt_then_mac::Key),
    Gmac(gmac::Key),
}

impl Schedule {
    /// The schedule of an algorithm that every backend has in one form only. `None` for the others.
    fn common(algorithm: EspAlgorithm, key: &[u8]) -> Option<Self> {
        encrypt_then_mac::Key::new(algorithm, key)
            .map(Self::EncryptThenMac)
            .or_else(|| gmac::Key::new(algorithm, key).map(Self::Gmac))
    }

    /// `false`: the message must not be sent.
    fn seal(&self, job: &mut AeadJob<'_>) -> bool {
        let AeadJob { nonce, aad, data, tag, .. } = job;
        match self {
            Self::RustCrypto(key) => key.seal(nonce, aad.as_slice(), data, tag),
            Self::EncryptThenMac(key) => key.seal(aad, data, tag),
            Self::Gmac(key) => key.seal(nonce, aad, data, tag),
            Self::Batch(_) => false,
        }
    }

    /// `false`: not authentic.
    fn open(&self, job: &mut AeadJob<'_>) -> bool {
        let AeadJob { nonce, aad, data, tag, .. } = job;
        match self {
            Self::RustCrypto(key) => key.open(nonce, aad.as_slice(), data, tag),
            Self::EncryptThenMac(key) => key.open(aad, data, tag),
            Self::Gmac(key) => key.open(nonce, aad, data, tag),
            Self::Batch(_) => false,
        }
    }
}

impl AeadKey {
    /// The algorithm that this key is for.
    pub const fn algorithm(&self) -> EspAlgorithm {
        self.algorithm
    }

    /// Hint that a message of `len` bytes under this key follows soon.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        if let Schedule::Batch(schedule) = &self.schedule {
            schedule.prefetch(len);
        }
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AeadKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// An implementation of the algorithms.
#[derive(Clone, Copy, Debug)]
pub enum AeadBackend {
    /// RustCrypto `aes-gcm`: all algorithms on every CPU.
    AesGcm,
    /// `aes_gcm_batch` with one of its code paths: AES-GCM, whole bursts at once.
    Batch(Engine),
}

/// Why a backend is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No backend has the name.
    #[error("there is no AEAD backend {name:?}: give one of {}", AeadBackend::NAMES.join(", "))]
    Unknown {
        /// The requested name.
        name: String,
    },
    /// The CPU does not support the code path of the batch kernel.
    #[error(transparent)]
    Kernel(#[from] EngineError),
}

impl AeadBackend {
    /// The names that [`AeadBackend::by_name`] accepts, in the order that help texts list it: a
    /// library, the batch kernel with its best code path, and its code paths by name.
    pub const NAMES: [&'static str; 7] =
        ["aes-gcm", "batch", "vaes-avx512-schoolbook", "vaes-avx512", "vaes-avx2", "aes-ni", "portable"];

    /// The default backend.
    pub fn preferred() -> Self {
        Self::Batch(Engine::detect())
    }

    /// The backend with this name.
    pub fn by_name(name: &str) -> Result<Self, BackendError> {
        match name {
            "aes-gcm" => Ok(Self::AesGcm),
            "batch" => Ok(Self::Batch(Engine::detect())),
            name => {
                let kernel: Kernel =
                    name.parse().map_err(|_| BackendError::Unknown { name: name.to_owned() })?;
                Ok(Self::Batch(Engine::with_backend(kernel)?))
            }
        }
    }

    /// Every backend that works on this CPU, for tests and benches.
    pub fn available() -> impl Iterator<Item = Self> {
        let kernels =
            Kernel::ALL.into_iter().filter_map(|kernel| Engine::with_backend(kernel).ok().map(Self::Batch));
        std::iter::once(Self::AesGcm).chain(kernels)
    }

    /// The name used in options, logs and benches; for the batch kernel that of its code path.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::Batch(engine) => engine.backend().name(),
        }
    }

    /// Expands `key`, [`EspAlgorithm::key_len`] bytes. Not for the packet path.
    pub fn expand(self, algorithm: EspAlgorithm, key: &[u8]) -> Result<AeadKey, KeyError> {
        let refused = KeyError::Length { algorithm, expected: algorithm.key_len(), actual: key.len() };
        if key.len() != algorithm.key_len() {
            return Err(refused);
        }
        let own = match (self, algorithm) {
            (Self::Batch(_), EspAlgorithm::AesGcm128 | EspAlgorithm::AesGcm192 | EspAlgorithm::AesGcm256) => {
                KeySchedule::new(key).ok().map(Schedule::Batch)
            }
            _ => None,
        };
        let schedule = match own.or_else(|| Schedule::common(algorithm, key)) {
            Some(schedule) => schedule,
            None => Schedule::RustCrypto(rustcrypto::Key::new(algorithm, key).ok_or(refused)?),
        };
        Ok(AeadKey { algorithm, schedule })
    }

    /// The engine for jobs whose key is a batch schedule: also a backend that was chosen later can
    /// serve them.
    fn engine(self) -> Engine {
        match self {
            Self::Batch(engine) => engine,
            Self::AesGcm => Engine::detect(),
        }
    }
}

#[cfg(test)]
mod tests;
