//! AES-GCM (NIST SP 800-38D) over bursts of packets with the CPU's vector instructions.
//!
//! * **Purpose**: seals and opens many short messages in place, each with a key, nonce and
//!   additional data of its own, several of them interleaved in the vector units; expands keys into
//!   caller-owned [`KeySchedule`]s.
//! * **Not in scope**: it does not generate or count nonces, has no ESP code, does not allocate or
//!   do I/O per packet, and does not branch or index on a secret.
//! * **Caller**: the AEAD layer of the `esp` crate, from every data-plane worker. All types are
//!   `Send`; an [`Engine`] is a copyable identifier of a code path.
//! * **Ownership**: the caller owns schedules, buffers and the job list; this crate keeps nothing
//!   between two calls.
//! * **Invariants**: a packet that fails authentication leaves zeros in its buffer; a vector code
//!   path runs only on a CPU that has its instructions and after its self-test against the portable
//!   one passed.
//!
//! The mathematics, the register plan and the constant-time argument are in `docs/aead.md`.
//!
//! ```
//! use aes_gcm_batch::{Engine, Job, KeySchedule};
//! # fn main() -> Result<(), aes_gcm_batch::KeyLengthError> {
//! let engine = Engine::detect();
//! let schedule = KeySchedule::new(&[7; 16])?;
//! let (mut text, mut tag) = (*b"sixteen bytes or any other length", [0; 16]);
//! engine.seal(&mut [Job::new(&schedule, [1; 12], b"header", &mut text, &mut tag)]);
//! let mut jobs = [Job::new(&schedule, [1; 12], b"header", &mut text, &mut tag)];
//! assert_eq!(engine.open(&mut jobs), 0);
//! assert!(jobs[0].is_authentic());
//! # Ok(())
//! # }
//! ```

mod engine;
mod expand;
mod job;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(feature = "memcheck")]
pub mod memcheck;
mod portable;
mod schedule;
mod self_test;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use engine::{Backend, Engine, EngineError};
pub use job::{Job, MAX_AAD_LEN, MAX_TEXT_LEN, NONCE_LEN, TAG_LEN, esp_nonce};
pub use schedule::{KeyLengthError, KeySchedule};
