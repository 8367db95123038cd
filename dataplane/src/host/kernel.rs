//! The kernel's routes, neighbours, links and addresses, mirrored by netlink so that routes from
//! FRR, BIRD or `ip route` are used without further configuration. One slow-path task writes;
//! workers read an immutable snapshot without a lock.

mod fence;
mod forwarding;
mod interval_map;
mod local_traffic;
mod mirror;
mod netlink;
mod reverse_path;
mod snapshot;
mod source_address;
mod sysctl;
mod translate;
mod view;

pub use fence::PRIORITIES;
pub use forwarding::Forwarding;
pub use local_traffic::LocalTraffic;
pub use mirror::{Mirror, PortDevices};
pub use netlink::{Device, LinkType, Netlink, NetlinkError};
pub use reverse_path::ReversePath;
pub use snapshot::{KernelSnapshot, PortId, PortLink, Route, SnapshotBuilder};
pub use source_address::{Flow, SourceRoutes};
pub use view::{KernelView, ResolveRequest};
