//! The jobs of one call, stored in the form of their implementation.

use aes_gcm_batch::{Job, MAX_TEXT_LEN};
use arrayvec::ArrayVec;

use super::{AeadBackend, AeadJob, Schedule};
use crate::BURST;

/// Up to [`BURST`] messages, on the stack.
#[derive(Default)]
pub struct AeadBurst<'a> {
    kernel: ArrayVec<Job<'a>, BURST>,
    single: ArrayVec<AeadJob<'a>, BURST>,
}

/// The position of a message in its burst, used to look up its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// Processed by the batch kernel.
    Kernel(u8),
    /// Processed by a library, one at a time.
    Single(u8),
}

/// Which messages of a burst were sealed, or found authentic.
#[derive(Clone, Copy, Debug)]
pub struct Verdicts {
    kernel: u32,
    single: u32,
}

// One bit per message.
const _: () = assert!(BURST == u32::BITS as usize);

impl Verdicts {
    /// Whether the message was sealed or is authentic.
    #[inline]
    pub const fn is_good(&self, ticket: Ticket) -> bool {
        match ticket {
            Ticket::Kernel(place) => self.kernel & (1 << place) != 0,
            Ticket::Single(place) => self.single & (1 << place) != 0,
        }
    }
}

impl<'a> AeadBurst<'a> {
    /// An empty burst.
    pub const fn new() -> Self {
        Self { kernel: ArrayVec::new_const(), single: ArrayVec::new_const() }
    }

    /// Adds a message. `None` when the burst is full, or when the message can be neither sealed nor
    /// authentic: a tag slice that is not as long as the algorithm's, or text beyond 2^30 bytes.
    #[inline(always)]
    pub fn push(&mut self, job: AeadJob<'a>) -> Option<Ticket> {
        if self.kernel.len() + self.single.len() >= BURST || job.data.len() > MAX_TEXT_LEN {
            return None;
        }
        if let Schedule::Batch(schedule) = &job.key.schedule {
            let tag = job.tag.try_into().ok()?;
            self.kernel.push(Job::new(schedule, job.nonce, job.aad.as_slice(), job.data, tag));
            Some(Ticket::Kernel(self.kernel.len() as u8 - 1))
        } else {
            self.single.push(job);
            Some(Ticket::Single(self.single.len() as u8 - 1))
        }
    }

    /// Encrypts every message and writes its tag. A message whose verdict is not good must not be
    /// sent.
    #[inline]
    pub fn seal(mut self, backend: AeadBackend) -> Verdicts {
        if !self.kernel.is_empty() {
            backend.engine().seal(&mut self.kernel);
        }
        Verdicts { kernel: u32::MAX, single: bits(&mut self.single, |job| job.key.schedule.seal(job)) }
    }

    /// Verifies and decrypts every message. The data of one whose verdict is not good is no
    /// plaintext and must not be used.
    #[inline]
    pub fn open(mut self, backend: AeadBackend) -> Verdicts {
        if !self.kernel.is_empty() {
            // Counted again below: the verdict is per message.
            let _rejected = backend.engine().open(&mut self.kernel);
        }
        Verdicts {
            kernel: bits(&mut self.kernel, |job| job.is_authentic()),
            single: bits(&mut self.single, |job| job.key.schedule.open(job)),
        }
    }
}

#[inline(always)]
fn bits<J>(jobs: &mut [J], mut verdict: impl FnMut(&mut J) -> bool) -> u32 {
    jobs.iter_mut().enumerate().fold(0, |bits, (place, job)| bits | u32::from(verdict(job)) << place)
}
