//! Interfaces, addresses and routes of the kernel, over rtnetlink.
//!
//! Existing addresses are adopted and never removed; missing ones are added. Our routes carry
//! protocol numbers of their own, so that after a crash the next control plane finds and removes
//! them.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::Configuration;
use config::model::{InterfaceName, NextHop, Prefix};
use futures::TryStreamExt;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use crate::plan::{Device, Devices};
use crate::routes::ReverseRoute;
use message::{describe, gateway, message, ours, with_destination};

/// Kernel route protocol of `ip route` lines.
pub const STATIC_PROTOCOL: u8 = 170;
/// Kernel route protocol of `reverse-route`.
pub const REVERSE_PROTOCOL: u8 = sa_table::routes::REVERSE_ROUTE_PROTOCOL;

/// A failed netlink request; the text names the object and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The netlink socket could not be opened.
    #[error("opening the kernel's netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A request was refused.
    #[error("{what}: {source}")]
    Request {
        /// The requested operation.
        what: String,
        /// The kernel's error.
        source: rtnetlink::Error,
    },
    /// There is no device of this name.
    #[error(
        "interface {interface}: there is no device {device}; type \"device NAME\" with one that \"ip link\" lists"
    )]
    NoDevice {
        /// The configured interface.
        interface: InterfaceName,
        /// The device it names.
        device: String,
    },
}

/// A route that should be in the kernel's main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// Destination.
    pub prefix: Prefix,
    /// Gateway, if not directly connected.
    pub gateway: Option<IpAddr>,
    /// Interface index; 0 leaves the choice to the kernel.
    pub ifindex: u32,
    /// Metric; lower wins.
    pub metric: u32,
    /// [`STATIC_PROTOCOL`] or [`REVERSE_PROTOCOL`].
    pub protocol: u8,
}

/// The network configuration of this network namespace.
#[derive(Clone, Debug)]
pub struct Kernel {
    handle: Handle,
}

/// One link and its addresses.
#[derive(Clone, Debug, Default)]
struct Link {
    index: u32,
    mtu: u32,
    up: bool,
    addresses: Vec<(IpAddr, u8)>,
}

impl Kernel {
    /// Uses a handle whose connection is driven by the caller.
    pub fn new(handle: Handle) -> Self {
        Kernel { handle }
    }

    /// The current devices of the configured interfaces; with `planned`, including the addresses
    /// that are about to be added.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub async fn devices(
        &self,
        configuration: &Configuration,
        planned: bool,
    ) -> Result<Devices, KernelError> {
        let links = self.links().await?;
        let mut devices = Devices::new();
        for (name, interface) in &configuration.interfaces {
            let Some(link) = links.get(interface.device_name(name)) else { continue };
            // Configured addresses first: the primary address is the tunnel endpoint.
            let configured = interface.addresses.iter().map(|address| address.address);
            let present: Vec<IpAddr> = link.addresses.iter().map(|(address, _)| *address).collect();
            let mut addresses: Vec<IpAddr> =
                configured.filter(|address| planned || present.contains(address)).collect();
            let others: Vec<IpAddr> = present
                .into_iter()
                .filter(|address| usable(address) && !addresses.contains(address))
                .collect();
            addresses.extend(others);
            let device = Device { ifindex: link.index, mtu: link.mtu, addresses, up: link.up };
            devices.insert(name.clone(), device);
        }
        Ok(devices)
    }

    /// Adds missing addresses, sets the MTU, sets interfaces up or down. Returns the failed
    /// operations.
    pub async fn apply_interfaces(&self, configuration: &Configuration) -> Vec<KernelError> {
        let links = match self.links().await {
            Ok(links) => links,
            Err(error) => return vec![error],
        };
        let mut troubles = Vec::new();
        for (name, interface) in &configuration.interfaces {
            let device = interface.device_name(name);
            let Some(link) = links.get(device) else {
                let virtual_one = name.as_str().starts_with("Loopback") && interface.device.is_none();
                if !virtual_one {
                    let device = device.to_owned();
                    troubles.push(KernelError::NoDevice { interface: name.clone(), device });
                }
                continue;
            };
            for address in &interface.addresses {
                if link.addresses.iter().any(|(present, _)| *present == address.address) {
                    continue;
                }
                let request = self.handle.address().add(link.index, address.address, address.length);
                troubles.extend(
                    outcome(request.execute().await, || {
                        format!("interface {name}: adding address {}/{}", address.address, address.length)
                    })
                    .err(),
                );
            }
            let wanted_mtu = interface.mtu.map(u32::from).filter(|mtu| *mtu != link.mtu);
            if interface.shutdown != link.up && wanted_mtu.is_none() {
                continue;
            }
            let mut message = LinkUnspec::new_with_index(link.index);
            message = if interface.shutdown { message.down() } else { message.up() };
            if let Some(mtu) = wanted_mtu {
                message = message.mtu(mtu);
            }
            let change = self.handle.link().change(message.build()).execute().await;
            troubles.extend(outcome(change, || format!("interface {name}: setting device {device}")).err());
        }
        troubles
    }

    /// The static routes of a configuration as kernel routes.
    pub fn static_routes(configuration: &Configuration, devices: &Devices) -> Vec<KernelRoute> {
        let routes = configuration.routes.iter().filter_map(|route| {
            let (gateway, ifindex) = match &route.next_hop {
                NextHop::Address(gateway) => (Some(*gateway), 0),
                NextHop::Interface(name) => (None, devices.get(name).map(|device| device.ifindex)?),
            };
            Some(KernelRoute {
                prefix: route.prefix,
                gateway,
                ifindex,
                metric: route.distance.into(),
                protocol: STATIC_PROTOCOL,
            })
        });
        routes.collect()
    }

    /// The kernel route for a reverse route: through the gateway toward the peer, on the route's
    /// device.
    ///
    /// # Errors
    /// If the device is gone or there is no route to the peer.
    pub async fn reverse_route(&self, route: &ReverseRoute) -> Result<KernelRoute, KernelError> {
        let links = self.links().await?;
        let ifindex = links.get(&route.device).map_or(0, |link| link.index);
        let gateway = match route.gateway {
            Some(gateway) => Some(gateway),
            None => self.gateway_to(route.peer).await?,
        };
        // A peer on a connected network is its own gateway.
        let gateway = gateway.or(Some(route.peer));
        Ok(KernelRoute {
            prefix: route.prefix,
            gateway,
            ifindex,
            metric: route.metric,
            protocol: REVERSE_PROTOCOL,
        })
    }

    /// Makes our routes in the kernel equal to `wanted`: adds missing routes and removes others.
    pub async fn reconcile(&self, wanted: &BTreeSet<KernelRoute>) -> Vec<KernelError> {
        let mut troubles = Vec::new();
        let mut present = BTreeSet::new();
        for version in [false, true] {
            match self.our_routes(version).await {
                Ok(routes) => present.extend(routes),
                Err(error) => troubles.push(error),
            }
        }
        let matches = |a: &KernelRoute, b: &KernelRoute| {
            let same_link = a.ifindex == b.ifindex || a.ifindex == 0 || b.ifindex == 0;
            a.prefix == b.prefix
                && a.gateway == b.gateway
                && a.metric == b.metric
                && a.protocol == b.protocol
                && same_link
        };
        for route in present.iter().filter(|route| !wanted.iter().any(|wanted| matches(wanted, route))) {
            troubles.extend(self.remove(route).await.err());
        }
        for route in wanted.iter().filter(|route| !present.iter().any(|present| matches(present, route))) {
            troubles.extend(self.add(route).await.err());
        }
        troubles
    }

    /// Adds a route, replacing one with the same prefix and metric.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn add(&self, route: &KernelRoute) -> Result<(), KernelError> {
        let request = self.handle.route().add(message(route)).replace();
        outcome(request.execute().await, || format!("adding route {}", describe(route)))
    }

    /// Removes a route; an absent route is not an error.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn remove(&self, route: &KernelRoute) -> Result<(), KernelError> {
        match self.handle.route().del(message(route)).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc_esrch() => Ok(()),
            result => outcome(result, || format!("removing route {}", describe(route))),
        }
    }

    async fn gateway_to(&self, peer: IpAddr) -> Result<Option<IpAddr>, KernelError> {
        let host = if peer.is_ipv4() { 32 } else { 128 };
        let request = with_destination(peer, host);
        let what = || format!("looking up the way to peer {peer}");
        let answer = self.handle.route().get(request).execute().try_next().await;
        let answer = answer.map_err(|source| KernelError::Request { what: what(), source })?;
        Ok(answer.as_ref().and_then(gateway))
    }

    async fn our_routes(&self, v6: bool) -> Result<Vec<KernelRoute>, KernelError> {
        let request = if v6 {
            RouteMessageBuilder::<Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<Ipv4Addr>::new().build()
        };
        let mut stream = std::pin::pin!(self.handle.route().get(request).execute());
        let mut routes = Vec::new();
        loop {
            let next = stream.try_next().await;
            let what = || "reading the kernel's routes".to_owned();
            match next.map_err(|source| KernelError::Request { what: what(), source })? {
                Some(found) => routes.extend(ours(&found)),
                None => return Ok(routes),
            }
        }
    }

    async fn links(&self) -> Result<BTreeMap<String, Link>, KernelError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| KernelError::Request { what, source }
        };
        let mut by_index: BTreeMap<u32, (String, Link)> = BTreeMap::new();
        let mut links = std::pin::pin!(self.handle.link().get().execute());
        while let Some(found) = links.try_next().await.map_err(failed("listing interfaces"))? {
            let mut name = String::new();
            let mut link = Link {
                index: found.header.index,
                up: found.header.flags.contains(LinkFlags::Up),
                ..Link::default()
            };
            for attribute in found.attributes {
                match attribute {
                    LinkAttribute::IfName(text) => name = text,
                    LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                    _ => {}
                }
            }
            by_index.insert(link.index, (name, link));
        }
        let mut addresses = std::pin::pin!(self.handle.address().get().execute());
        while let Some(found) = addresses.try_next().await.map_err(failed("listing addresses"))? {
            let Some((_, link)) = by_index.get_mut(&found.header.index) else { continue };
            // On a point-to-point link `Address` is the remote end; `Local`, where present, is
            // always the local address.
            let local = found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let any = found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            if let Some(address) = local.or(any) {
                link.addresses.push((address, found.header.prefix_len));
            }
        }
        Ok(by_index.into_values().collect())
    }
}

fn usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

fn outcome(result: Result<(), rtnetlink::Error>, what: impl FnOnce() -> String) -> Result<(), KernelError> {
    result.map_err(|source| KernelError::Request { what: what(), source })
}

const fn libc_esrch() -> i32 {
    rustix::io::Errno::SRCH.raw_os_error()
}
