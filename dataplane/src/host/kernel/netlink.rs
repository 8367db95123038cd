//! One-off netlink requests of the main thread, made synchronous by a private runtime.

use std::io;
use std::net::Ipv4Addr;

use futures::TryStreamExt;
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::{Handle, LinkUnspec};
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::xdp::{AttachedMode, DeviceQuery, DeviceState};

/// A netlink request failed.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// No socket, or no runtime.
    #[error("open a netlink socket: {0}")]
    Open(io::Error),
    /// The kernel returned an error.
    #[error("{operation}: {source}")]
    Request {
        /// The operation.
        operation: String,
        /// The kernel's error.
        source: rtnetlink::Error,
    },
    /// A sysctl that cannot be read or written.
    #[error("{operation} {path}: {source}")]
    Sysctl {
        /// Read or write.
        operation: &'static str,
        /// Path below `/proc/sys`.
        path: String,
        /// The error of the system call.
        source: io::Error,
    },
}

impl NetlinkError {
    /// Whether the sysctl does not exist.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Sysctl { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(super) fn request(operation: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Request { operation, source }
    }

    /// The kernel's error number, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(error) | Self::Sysctl { source: error, .. } => error.raw_os_error(),
            Self::Request { source, .. } => netlink_errno(source),
        }
    }
}

pub(super) fn netlink_errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}

/// The link-layer header of a device's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// None, frames begin with the IP header: TUN, PPP, WireGuard, IP in IP.
    RawIp,
    /// The loopback device.
    Loopback,
    /// An unsupported type: the `ARPHRD_…` number of the kernel.
    Other(u16),
}

impl LinkType {
    /// From `ifi_type` (include/uapi/linux/if_arp.h).
    fn of(kind: u16) -> Self {
        match kind {
            // ARPHRD_ETHER.
            1 => Self::Ethernet,
            // ARPHRD_NONE, PPP, RAWIP, TUNNEL, TUNNEL6, SIT.
            0xfffe | 512 | 519 | 768 | 769 | 776 => Self::RawIp,
            // ARPHRD_LOOPBACK.
            772 => Self::Loopback,
            other => Self::Other(other),
        }
    }
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Hardware address; zero for devices without one.
    pub mac: [u8; 6],
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// Administratively up, with carrier.
    pub up: bool,
    /// The attached XDP program.
    pub xdp: Option<DeviceState>,
    /// The kind of the device (`IFLA_INFO_KIND`), such as `veth` or `vlan`.
    pub kind: Option<String>,
    /// The link-layer header of its frames.
    pub link_type: LinkType,
}

impl Device {
    /// Whether its frames begin with the IP header.
    #[must_use]
    pub fn is_raw_ip(&self) -> bool {
        self.link_type == LinkType::RawIp
    }
}

/// Netlink for callers that are not asynchronous.
pub struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No socket, or no descriptors left.
    pub fn open() -> Result<Self, NetlinkError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetlinkError::Open)?;
        let (connection, handle, _) = {
            let _guard = runtime.enter();
            rtnetlink::new_connection().map_err(NetlinkError::Open)?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// All devices of the namespace.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn devices(&self) -> Result<Vec<Device>, NetlinkError> {
        self.run(devices(&self.handle))
    }

    /// The device of that name.
    ///
    /// # Errors
    /// Netlink failed. A device that does not exist is `None`.
    pub fn device(&self, name: &str) -> Result<Option<Device>, NetlinkError> {
        Ok(self.devices()?.into_iter().find(|device| device.name == name))
    }

    /// Sets a device administratively up.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn bring_up(&self, ifindex: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(ifindex).up().build();
        self.run(self.handle.link().set(message).execute()).map_err(NetlinkError::request("set a device up"))
    }

    /// Gives a device an address of scope `host`, which the kernel never selects as source on
    /// another device.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn add_host_address(&self, ifindex: u32, address: Ipv4Addr) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(ifindex, address.into(), 32).replace();
        request.message_mut().header.scope = AddressScope::Host;
        self.run(request.execute()).map_err(NetlinkError::request("add an address to the punt port"))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl DeviceQuery for Netlink {
    fn xdp_program(&self, ifindex: u32) -> io::Result<Option<DeviceState>> {
        let devices = self.devices().map_err(io::Error::other)?;
        match devices.into_iter().find(|device| device.ifindex == ifindex) {
            Some(device) => Ok(device.xdp),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        }
    }
}

/// Dumps all links.
pub(super) async fn devices(handle: &Handle) -> Result<Vec<Device>, NetlinkError> {
    let links: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.map_err(NetlinkError::request("list devices"))?;
    Ok(links.iter().map(device).collect())
}

/// Dumps all addresses.
pub(super) async fn addresses(handle: &Handle) -> Result<Vec<AddressMessage>, NetlinkError> {
    handle.address().get().execute().try_collect().await.map_err(NetlinkError::request("list addresses"))
}

fn device(link: &LinkMessage) -> Device {
    let mut device = Device {
        ifindex: link.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        xdp: None,
        kind: None,
        link_type: LinkType::of(u16::from(link.header.link_layer_type)),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Address(octets) => {
                if let Ok(mac) = octets.as_slice().try_into() {
                    device.mac = mac;
                }
            }
            LinkAttribute::Xdp(attributes) => device.xdp = xdp_state(attributes),
            LinkAttribute::LinkInfo(infos) => {
                device.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    device
}

fn xdp_state(attributes: &[LinkXdp]) -> Option<DeviceState> {
    let mut mode = None;
    let mut program = None;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(AttachedMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(AttachedMode::Skb),
            LinkXdp::ProgId(id) => program = Some(*id),
            _ => {}
        }
    }
    Some(DeviceState { mode: mode?, program: program? })
}
