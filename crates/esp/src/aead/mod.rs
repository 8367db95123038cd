//! The AEAD seam: bursts of jobs go in, each with its own key schedule.
//!
//! A backend is chosen by name when the process starts and expands every key that is installed afterwards. The packet path
//! hands it slices of [`AeadJob`]; data and tag are borrowed from the frame, nothing is copied. An algorithm that a backend
//! lacks is served by `aes-gcm` in the same call.
//!
//! Algorithms that are not AEADs (AES-CBC with HMAC) fit the same job: the MAC covers SPI, sequence number and ciphertext, which
//! [`Aad`] and `data` carry, and an unpredictable IV is the encryption of the nonce under the SA's key (NIST SP 800-38A appendix C).

mod ring;
mod rustcrypto;

use crate::{Algorithm, KeyError};

/// Additional authenticated data of RFC 4106 §5: SPI and sequence number, 8 bytes, or 12 with an extended one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad {
    bytes: [u8; 12],
    len: u8,
}

impl Aad {
    /// AAD of a 32-bit sequence number.
    #[inline]
    pub fn new(spi: u32, sequence: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
        Self { bytes, len: 8 }
    }

    /// AAD of an extended sequence number.
    #[inline]
    pub fn new_extended(spi: u32, sequence: u64) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        bytes[4..].copy_from_slice(&sequence.to_be_bytes());
        Self { bytes, len: 12 }
    }

    /// The bytes to authenticate.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.len == 8 { &self.bytes[..8] } else { &self.bytes }
    }
}

/// One message of a burst.
#[derive(Debug)]
pub struct AeadJob<'a> {
    /// Key schedule, expanded by [`AeadBackend::expand`].
    pub key: &'a AeadKey,
    /// Salt ‖ IV.
    pub nonce: [u8; 12],
    /// Additional authenticated data.
    pub aad: Aad,
    /// Plaintext to encrypt or ciphertext to decrypt, in place.
    pub data: &'a mut [u8],
    /// Where seal writes the ICV and open reads it; [`Algorithm::icv_len`] bytes.
    pub tag: &'a mut [u8],
}

/// An expanded key, bound to the backend that expanded it.
///
/// Key material of `aes-gcm` is erased on drop; `ring` offers no way to erase its own.
pub struct AeadKey {
    algorithm: Algorithm,
    schedule: Schedule,
}

#[allow(
    clippy::large_enum_variant,
    reason = "a schedule is read per packet: no pointer between SA and round keys"
)]
enum Schedule {
    RustCrypto(rustcrypto::Key),
    Ring(ring::Key),
}

impl AeadKey {
    /// The algorithm that this key is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AeadKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// An implementation of the algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadBackend {
    /// RustCrypto `aes-gcm`: all algorithms on every CPU.
    AesGcm,
    /// `ring`: AES-GCM with 128- and 256-bit keys; the rest by [`AeadBackend::AesGcm`].
    Ring,
}

impl AeadBackend {
    /// All backends, in the order that help texts list them.
    pub const ALL: [Self; 2] = [Self::AesGcm, Self::Ring];

    /// The backend used when nobody chose one.
    pub const DEFAULT: Self = Self::Ring;

    /// The backend with this [`name`](Self::name).
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// The name used in options, logs and benches.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::Ring => "ring",
        }
    }

    /// Expands `key` (salt excluded). Not for the packet path.
    pub fn expand(self, algorithm: Algorithm, key: &[u8]) -> Result<AeadKey, KeyError> {
        let refused = KeyError::Length { algorithm, expected: algorithm.key_len(), actual: key.len() };
        let schedule = match self {
            Self::AesGcm => None,
            Self::Ring => ring::Key::new(algorithm, key).map(Schedule::Ring),
        };
        let schedule = match schedule {
            Some(schedule) => schedule,
            None => Schedule::RustCrypto(rustcrypto::Key::new(algorithm, key).ok_or(refused)?),
        };
        Ok(AeadKey { algorithm, schedule })
    }

    /// Encrypts every job's data and writes its tag. `false` means that a job was refused (a tag slice of the wrong length, data
    /// beyond the algorithm's limit); its data must not be sent, and verdicts are per job.
    pub fn seal(self, jobs: &mut [AeadJob<'_>], sealed: &mut [bool]) {
        for (job, sealed) in jobs.iter_mut().zip(sealed) {
            *sealed = match &job.key.schedule {
                Schedule::RustCrypto(key) => key.seal(&job.nonce, job.aad.as_slice(), job.data, job.tag),
                Schedule::Ring(key) => key.seal(&job.nonce, job.aad.as_slice(), job.data, job.tag),
            };
        }
    }

    /// Verifies and decrypts every job. `opened[i]` tells whether job `i` is authentic; the data of one that is not is no plaintext
    /// and must not be used.
    pub fn open(self, jobs: &mut [AeadJob<'_>], opened: &mut [bool]) {
        for (job, opened) in jobs.iter_mut().zip(opened) {
            *opened = match &job.key.schedule {
                Schedule::RustCrypto(key) => key.open(&job.nonce, job.aad.as_slice(), job.data, job.tag),
                Schedule::Ring(key) => key.open(&job.nonce, job.aad.as_slice(), job.data, job.tag),
            };
        }
    }
}

#[cfg(test)]
mod tests;
