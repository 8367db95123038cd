//! The machine as the packet path uses it: ports, the punt port, and the mirror of the kernel's
//! tables.

pub mod kernel;
pub mod ports;
pub mod punt;
