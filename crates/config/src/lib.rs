//! The IOS configuration language of tohub, as a library that performs almost no I/O.
//!
//! * [`tree`]: the command trees, as data. Parsing, abbreviation, `?` help, TAB completion and the
//!   caret of an error are derived from them.
//! * [`model`]: the typed configuration ([`Configuration`]), which lines build and [`render`]
//!   prints.
//! * [`edit`]: the effect of each configuration line on the model.
//! * [`commit`]: the rules for whole configurations, and [`diff`]: the ordered changes between two.
//! * [`effective_ike`]: the IKE and SA parameters of a crypto map entry.
//! * [`command`]: the typed exec and show commands; [`render_show`]: their output from plain state
//!   structs.
//! * [`shell`]: a CLI session (modes, prompts, `do`, `no`, output filters) as a state machine; the
//!   owner of the running configuration carries out its requests.
//! * [`salvage`]: the valid parts of a rejected file, for dropping the traffic that it would
//!   protect.
//! * [`sizes`]: the resources that a configuration needs, and their limits.
//! * [`control`]: the messages of the control socket; [`file`]: configuration files, rejected as a
//!   whole at the first invalid line.
//!
//! The crate executes no commands, accesses no files but the configuration file given by the
//! caller, and reads no clock. It is used by `tohub-controlplane` (all of it) and `tohub`
//! ([`control`], [`file`]).
#![forbid(unsafe_code)]

pub mod command;
pub mod commit;
pub mod control;
pub mod diff;
pub mod edit;
pub mod effective_ike;
mod exec;
pub mod file;
pub mod model;
pub mod proc_route;
pub mod render;
pub mod render_show;
pub mod salvage;
pub mod shell;
pub mod sizes;
pub mod tree;

pub use model::Configuration;
