//! A CLI session: modes, prompts, `do`, `no`, pipes, error texts.
//!
//! The owner of the running configuration (the control plane) keeps one [`Shell`] for every
//! connection of the control socket. A shell performs no actions itself: it takes a request,
//! returns an action ([`Ask`]) and is given its result:
//!
//! ```text
//! let mut turn = shell.request(request, &running);
//! loop {
//!     send(turn.replies);
//!     turn = match turn.ask {
//!         Some(ask) => shell.told(carry_out(ask), &running),   // at once, or when the work is done
//!         None if another request waits => shell.request(next, &running),
//!         None if shell.holds_lines() => shell.flush(&running),
//!         None => break,
//!     };
//! }
//! ```

mod ask;
mod burst;
mod dialogue;
mod pipe;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod text;

pub use ask::{Ask, Baselines, CommandError, Commit, Told, Turn};
pub use dialogue::{MAX_LINE, Shell};
pub use pipe::{Pipe, PipeError};
pub use text::{column, parse_error_text};
