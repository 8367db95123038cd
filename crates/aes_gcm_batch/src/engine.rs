//! The choice of a code path.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::kernel::burst::Burst;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Vector, x128::X128, x256::X256, x512::X512};
use crate::{Job, portable, self_test};

/// A code path of the kernel, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// VAES and VPCLMULQDQ on 512-bit vectors (AVX-512 F, BW, DQ, VL), four multiplications a
    /// product and few other instructions: for CPUs of Intel, whose multiplier takes one
    /// instruction a cycle.
    Vaes512Schoolbook,
    /// The same with three multiplications a product (Karatsuba): for CPUs whose multiplier is the
    /// bottleneck, such as AMD's.
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
    pub const ALL: [Backend; 5] =
        [Backend::Vaes512Schoolbook, Backend::Vaes512, Backend::Vaes256, Backend::AesNi, Backend::Portable];

    /// The name by which a back end is forced and logged.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Vaes512Schoolbook => "vaes-avx512-schoolbook",
            Backend::Vaes512 => "vaes-avx512",
            Backend::Vaes256 => "vaes-avx2",
            Backend::AesNi => "aes-ni",
            Backend::Portable => "portable",
        }
    }

    /// The one to prefer on this CPU.
    pub fn best() -> Self {
        Backend::ALL
            .into_iter()
            .filter(|&backend| backend != Backend::Vaes512Schoolbook || is_intel())
            .find(|backend| backend.is_supported())
            .unwrap_or(Backend::Portable)
    }

    /// Whether this CPU (and its operating system's register saving) has the instructions.
    pub fn is_supported(self) -> bool {
        Path::of(self).is_some()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why an engine is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No back end has that name.
    #[error(
        "no AEAD back end is named {name:?}; there are vaes-avx512-schoolbook, vaes-avx512, vaes-avx2, aes-ni and portable"
    )]
    UnknownName {
        /// The requested name.
        name: String,
    },
    /// The CPU lacks the instructions.
    #[error("this CPU cannot run the AEAD back end {0}; leave the choice to the program or name another")]
    Unsupported(Backend),
    /// The back end's results differ from those of the portable one.
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
#[derive(Clone, Copy)]
pub struct Engine {
    path: Path,
}

/// A back end with the proof that the CPU supports it.
#[derive(Clone, Copy)]
enum Path {
    #[cfg(target_arch = "x86_64")]
    Vaes512Schoolbook(X512<true>),
    #[cfg(target_arch = "x86_64")]
    Vaes512(X512<false>),
    #[cfg(target_arch = "x86_64")]
    Vaes256(X256),
    #[cfg(target_arch = "x86_64")]
    AesNi(X128),
    Portable,
}

impl Engine {
    /// The best back end of this CPU, if it passes its self-test; else the portable one, and an
    /// error in the log. Tested once per process.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Engine> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let best = Backend::best();
            Engine::with_backend(best).unwrap_or_else(|error| {
                tracing::error!(backend = %best, %error, "AEAD falls back to the portable code");
                Engine { path: Path::Portable }
            })
        })
    }

    /// A back end by choice, after its self-test.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] or [`EngineError::SelfTest`].
    pub fn with_backend(backend: Backend) -> Result<Self, EngineError> {
        let path = Path::of(backend).ok_or(EngineError::Unsupported(backend))?;
        let engine = Engine { path };
        if self_test::agrees_with_portable(engine) { Ok(engine) } else { Err(EngineError::SelfTest(backend)) }
    }

    /// The back end in use.
    pub fn backend(self) -> Backend {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            Path::Vaes512Schoolbook(_) => Backend::Vaes512Schoolbook,
            #[cfg(target_arch = "x86_64")]
            Path::Vaes512(_) => Backend::Vaes512,
            #[cfg(target_arch = "x86_64")]
            Path::Vaes256(_) => Backend::Vaes256,
            #[cfg(target_arch = "x86_64")]
            Path::AesNi(_) => Backend::AesNi,
            Path::Portable => Backend::Portable,
        }
    }

    /// Encrypts every job's text in place and writes its tag. Any number of jobs, lengths and keys
    /// mixed; 16 to 64 jobs, those of one key next to one another, are fastest.
    pub fn seal(self, jobs: &mut [Job<'_>]) {
        self.run::<false>(jobs);
    }

    /// Checks every job's tag and decrypts its text in place. Returns how many packets were
    /// *rejected*: their [`Job::is_authentic`] is false and their text is all zeros.
    #[must_use = "rejected packets must be dropped"]
    pub fn open(self, jobs: &mut [Job<'_>]) -> usize {
        self.run::<true>(jobs)
    }

    #[inline]
    fn run<const OPEN: bool>(self, jobs: &mut [Job<'_>]) -> usize {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            Path::Vaes512Schoolbook(proof) => proof.run(Burst::<OPEN>(jobs)),
            #[cfg(target_arch = "x86_64")]
            Path::Vaes512(proof) => proof.run(Burst::<OPEN>(jobs)),
            #[cfg(target_arch = "x86_64")]
            Path::Vaes256(proof) => proof.run(Burst::<OPEN>(jobs)),
            #[cfg(target_arch = "x86_64")]
            Path::AesNi(proof) => proof.run(Burst::<OPEN>(jobs)),
            Path::Portable => portable::run::<OPEN>(jobs),
        }
    }
}

impl Path {
    fn of(backend: Backend) -> Option<Self> {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes512Schoolbook => X512::detect().map(Path::Vaes512Schoolbook),
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes512 => X512::detect().map(Path::Vaes512),
            #[cfg(target_arch = "x86_64")]
            Backend::Vaes256 => X256::detect().map(Path::Vaes256),
            #[cfg(target_arch = "x86_64")]
            Backend::AesNi => X128::detect().map(Path::AesNi),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Vaes512Schoolbook | Backend::Vaes512 | Backend::Vaes256 | Backend::AesNi => None,
            Backend::Portable => Some(Path::Portable),
        }
    }
}

/// Whether the CPU calls itself an Intel.
fn is_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let leaf = core::arch::x86_64::__cpuid(0);
        [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({})", self.backend())
    }
}
