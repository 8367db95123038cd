//! The IOS configuration language of tohub, as a library without any input or output of its own.
//!
//! * [`tree`]: one command tree, as data. Parsing, abbreviation, `?` help, TAB completion and the
//!   caret of an error all come from it.
//! * [`model`]: the typed configuration ([`Configuration`]) that lines build up and [`render`]
//!   writes back.
//! * [`edit`]: what each configuration line does to the model.
//! * [`commit`]: the rules that hold on a whole model, and [`diff`]: the ordered changes between
//!   two models.
//! * [`effective_ike`]: what a crypto-map entry means for IKE and for its SAs.
//! * [`command`]: the typed exec and show commands; [`render_show`]: their output from plain state
//!   structs.
//! * [`shell`]: a CLI session (modes, prompts, `do`, `no`, pipes) as a state machine; the owner of
//!   the running configuration carries out what it asks for.
//! * [`salvage`]: what can be understood of a refused file, for closing what it would protect.
//! * [`sizes`]: how much room a configuration needs, and what has none.
//! * [`control`]: the messages of the control socket; [`file`]: configuration files, refused whole
//!   on the first bad line.
//!
//! The crate executes nothing, opens nothing but the configuration file that it is told to write,
//! and reads no clock. Its callers are `tohub-controlplane` (all of it) and `tohub` ([`control`],
//! [`file`]).
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
