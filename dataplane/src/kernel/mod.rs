//! The kernel's routes, neighbours, links and addresses, mirrored by netlink so that routes from FRR, BIRD or a
//! static `ip route` just work. One slow-path task writes; workers read an immutable snapshot without a lock.

mod interval_map;
mod snapshot;
mod view;

pub use snapshot::{KernelSnapshot, PortId, PortLink, Route, SnapshotBuilder};
pub use view::{KernelView, ResolveRequest};
