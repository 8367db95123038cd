//! This machine as the packet path sees it: ports, the punt port, and the mirror of the kernel.

pub mod kernel;
pub mod ports;
pub mod punt;
