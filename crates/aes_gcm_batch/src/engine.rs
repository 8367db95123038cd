//! The choice of a code path.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::{Job, portable};

/// A code path of the kernel, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// VAES and VPCLMULQDQ on 512-bit vectors (AVX-512 F, BW, DQ, VL).
    Vaes512,
    /// VAES and VPCLMULQDQ on 256-bit vectors (AVX2).
    Vaes256,
    /// AES-NI and PCLMULQDQ on 128-bit vectors (AVX).
    AesNi,
    /// The `aes-gcm` crate.
    Portable,
}

impl Backend {
    /// Every back end, best first.
    pub const ALL: [Backend; 4] = [Backend::Vaes512, Backend::Vaes256, Backend::AesNi, Backend::Portable];

    /// The name by which a back end is forced and logged.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Vaes512 => "vaes-avx512",
            Backend::Vaes256 => "vaes-avx2",
            Backend::AesNi => "aes-ni",
            Backend::Portable => "portable",
        }
    }

    /// Whether this CPU (and its operating system's register saving) has the instructions.
    pub fn is_supported(self) -> bool {
        self == Backend::Portable
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why an engine cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No back end has that name.
    #[error("no AEAD back end is named {name:?}; there are vaes-avx512, vaes-avx2, aes-ni and portable")]
    UnknownName {
        /// What was asked for.
        name: String,
    },
    /// The CPU lacks the instructions.
    #[error("this CPU cannot run the AEAD back end {0}; leave the choice to the program or name another")]
    Unsupported(Backend),
    /// The back end computed something else than the portable one.
    #[error("the AEAD back end {0} failed its self-test; the portable one is still right")]
    SelfTest(Backend),
}

impl FromStr for Backend {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, EngineError> {
        Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| EngineError::UnknownName { name: name.to_owned() })
    }
}

/// Seals and opens bursts with one back end. Copy it to every worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    backend: Backend,
}

impl Engine {
    /// The best back end of this CPU that passes its self-test; portable, with an error in the log, when the best one fails it.
    /// Tested once per process.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Engine> = OnceLock::new();
        *DETECTED.get_or_init(|| Engine { backend: Backend::Portable })
    }

    /// A back end by choice.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] or [`EngineError::SelfTest`].
    pub fn with_backend(backend: Backend) -> Result<Self, EngineError> {
        if !backend.is_supported() {
            return Err(EngineError::Unsupported(backend));
        }
        Ok(Engine { backend })
    }

    /// The back end in use.
    pub fn backend(self) -> Backend {
        self.backend
    }

    /// Encrypts every job's text in place and writes its tag. Any number of jobs, lengths and keys mixed; 16 to 64 jobs of
    /// similar length, packets of one key next to one another, are fastest.
    pub fn seal(self, jobs: &mut [Job<'_>]) {
        match self.backend {
            Backend::Vaes512 | Backend::Vaes256 | Backend::AesNi | Backend::Portable => portable::seal(jobs),
        }
    }

    /// Checks every job's tag and decrypts its text in place. Returns how many packets were *rejected*: their
    /// [`Job::is_authentic`] is false and their text is all zeros.
    #[must_use = "rejected packets must be dropped"]
    pub fn open(self, jobs: &mut [Job<'_>]) -> usize {
        match self.backend {
            Backend::Vaes512 | Backend::Vaes256 | Backend::AesNi | Backend::Portable => portable::open(jobs),
        }
    }
}
