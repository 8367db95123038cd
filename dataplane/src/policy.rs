//! The packet policy of the configuration: rule lists of the ports, selectors, filters.

pub(crate) mod address_bits;
mod compiled;
pub mod filter;
pub mod flow;
pub mod rules;

pub use compiled::*;
