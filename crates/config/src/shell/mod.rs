//! A CLI session: modes, prompts, `do`, `no`, pipes, error texts.
//!
//! The owner of the running configuration (the control plane) implements [`Executor`]. For every connection of the
//! control socket it keeps one [`Shell`] and hands each request to [`Shell::handle`]:
//!
//! ```text
//! match shell.handle(&request, &mut executor) {
//!     Reply::Now(response) => send(response),
//!     Reply::Later => ...          // ping, traceroute: when the work is done,
//! }                                // send(shell.finish(result, &executor))
//! ```

mod executor;
mod pipe;
mod session;
#[cfg(test)]
mod tests;
mod text;

pub use executor::{Baselines, CommandError, Executor, Outcome, Reply};
pub use pipe::{Pipe, PipeError};
pub use session::{MAX_LINE, Shell};
pub use text::{column, parse_error_text};
