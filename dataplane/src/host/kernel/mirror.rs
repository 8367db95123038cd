//! Keeps the published snapshot equal to the kernel: dumps at the start and after each burst of
//! netlink notifications, and has the kernel resolve and refresh the neighbours that workers use.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::{Handle, IpVersion, MulticastGroup, RouteMessageBuilder};
use sa_table::routes::fingerprint;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::netlink::{Device, NetlinkError, addresses, devices, netlink_errno};
use super::snapshot::{PortId, PortLink, Route, RouteTables, SnapshotBuilder, Table};
use super::translate::{self, PortIndex};
use super::view::KernelView;

/// Which devices are ports, by interface index; the main thread sets them, the mirror follows. A
/// device may no longer exist.
#[derive(Default)]
pub struct PortDevices {
    devices: Mutex<Vec<(PortId, u32)>>,
    /// Number of the control plane's latest kernel change.
    changes: AtomicU64,
    changed: Notify,
    /// Called for each link notification.
    on_link: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl PortDevices {
    /// Replaces the ports.
    pub fn set(&self, devices: Vec<(PortId, u32)>) {
        *self.devices.lock().unwrap_or_else(PoisonError::into_inner) = devices;
        self.changed.notify_one();
    }

    /// The control plane has changed the kernel's tables: everything is dumped again, and
    /// [`KernelView`] then reports this number.
    pub fn read_change(&self, number: u64) {
        if self.changes.swap(number, Ordering::SeqCst) != number {
            self.changed.notify_one();
        }
    }

    /// Registers `wake`, which the mirror's thread calls when a device appears, disappears or
    /// changes. A second call has no effect.
    pub fn on_link_news(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_link.set(Box::new(wake));
    }

    fn current(&self) -> Vec<(PortId, u32)> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        let about_links = matches!(
            message.payload,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_))
                | NetlinkPayload::Overrun(_)
        );
        if let Some(wake) = self.on_link.get().filter(|_| about_links) {
            wake();
        }
    }
}

/// The mirror task.
pub struct Mirror {
    view: Arc<KernelView>,
    names: Arc<PortDevices>,
    handle: Handle,
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)>,
    state: State,
    /// Neighbours that workers used since the last refresh.
    used: HashSet<(PortId, IpAddr)>,
    /// When the kernel was last asked to resolve a neighbour.
    asked: HashMap<(PortId, IpAddr), Instant>,
}

/// Results of the last dumps.
#[derive(Default)]
struct State {
    generation: u64,
    tables: Arc<RouteTables>,
    /// Fingerprint of the routes that the control plane added for tunnels.
    reverse_routes: u64,
    /// The control plane's last kernel change before the dumps.
    changes: u64,
    ports: Vec<(PortId, PortLink)>,
    index: PortIndex,
    addresses: Vec<(PortId, IpAddr)>,
}

/// What has to be dumped again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dirty {
    routes: bool,
    neighbours: bool,
}

impl Mirror {
    /// Subscribes to the kernel's notifications in the network namespace of the calling thread.
    /// Must run inside a runtime.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open(view: Arc<KernelView>, names: Arc<PortDevices>) -> Result<Self, NetlinkError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Open)?;
        tokio::spawn(connection);
        let (used, asked) = (HashSet::new(), HashMap::new());
        Ok(Self { view, names, handle, messages, state: State::default(), used, asked })
    }

    /// Dumps everything once and publishes it.
    ///
    /// # Errors
    /// Netlink failed.
    pub async fn synchronise(&mut self) -> Result<(), NetlinkError> {
        self.update(Dirty { routes: true, neighbours: true }).await
    }

    /// Follows the kernel until the socket fails.
    ///
    /// # Errors
    /// The netlink socket broke; the last snapshot stays published.
    pub async fn run(mut self) -> Result<(), NetlinkError> {
        self.synchronise().await?;
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dirty = Dirty::default();
        // A burst of notifications (a routing daemon loading its table) costs few dumps: the pause
        // grows with their duration.
        let mut not_before = tokio::time::Instant::now();
        loop {
            let view = Arc::clone(&self.view);
            let names = Arc::clone(&self.names);
            tokio::select! {
                message = self.messages.next() => match message {
                    Some((message, _)) => {
                        names.note(&message);
                        dirty.note(&message);
                    }
                    None => return Err(NetlinkError::Open(std::io::Error::other("the netlink socket was closed"))),
                },
                () = view.requested() => self.resolve().await,
                () = names.changed.notified() => dirty = Dirty { routes: true, neighbours: true },
                _ = refresh.tick() => self.refresh().await,
                () = sleep_until(not_before), if dirty != Dirty::default() => {
                    let started = tokio::time::Instant::now();
                    self.update(std::mem::take(&mut dirty)).await?;
                    let now = tokio::time::Instant::now();
                    not_before = now + (DUTY * (now - started)).max(QUIET);
                }
            }
        }
    }

    async fn update(&mut self, dirty: Dirty) -> Result<(), NetlinkError> {
        if dirty.routes {
            self.read_tables().await?;
        }
        let neighbours: Vec<NeighbourMessage> = self
            .handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(NetlinkError::request("list neighbours"))?;
        self.used.extend(self.view.load().take_used_neighbours());
        let state = &self.state;
        let mut builder =
            SnapshotBuilder::new().generation(state.generation).with_tables(Arc::clone(&state.tables));
        for (port, link) in &state.ports {
            builder = builder.port(*port, link.clone());
        }
        for (port, address) in &state.addresses {
            builder = builder.own_address(*port, *address);
        }
        for (port, address, mac) in
            neighbours.iter().filter_map(|one| translate::neighbour(one, &state.index))
        {
            builder = builder.neighbour(port, address, mac);
        }
        self.view.publish(builder.build());
        self.view.report(self.state.reverse_routes, self.state.changes);
        Ok(())
    }

    async fn read_tables(&mut self) -> Result<(), NetlinkError> {
        let changes = self.names.changes.load(Ordering::SeqCst);
        let devices = devices(&self.handle).await?;
        let ports = ports(&devices, &self.names.current());
        let index: PortIndex = ports.iter().map(|(port, link)| (link.ifindex, *port)).collect();
        let addresses = addresses(&self.handle).await?;
        let mut builder = SnapshotBuilder::new();
        let mut reverse_routes = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            for message in self.read_routes(version).await? {
                reverse_routes.extend(translate::reverse_route(&message));
                if let Some(one) = translate::route(&message, &index) {
                    builder = builder.table_route(one.table, one.prefix, one.length, one.metric, one.route);
                }
            }
        }
        for (prefix, length) in [(IpAddr::from([224, 0, 0, 0]), 4), (IpAddr::from([255; 4]), 32)] {
            builder = builder.table_route(Table::Local, prefix, length, u32::MAX, Route::ToKernel);
        }
        self.state = State {
            generation: self.state.generation + 1,
            tables: builder.build().tables(),
            reverse_routes: fingerprint(reverse_routes),
            changes,
            addresses: addresses.iter().filter_map(|one| own_address(one, &index)).collect(),
            ports,
            index,
        };
        Ok(())
    }

    async fn read_routes(&self, version: IpVersion) -> Result<Vec<RouteMessage>, NetlinkError> {
        let query = match version {
            IpVersion::V4 => RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            IpVersion::V6 => RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        };
        self.handle
            .route()
            .get(query)
            .execute()
            .try_collect()
            .await
            .map_err(NetlinkError::request("list routes"))
    }

    /// Serves the workers' resolve requests.
    async fn resolve(&mut self) {
        let now = Instant::now();
        self.asked.retain(|_, asked| now.duration_since(*asked) < ASK_AGAIN);
        while let Some(wish) = self.view.next_request() {
            let key = (wish.port, wish.address);
            if self.asked.contains_key(&key) {
                continue;
            }
            self.asked.insert(key, now);
            self.probe(wish.port, wish.address).await;
        }
    }

    /// The kernel does not see our traffic, so neighbours in use would become stale.
    async fn refresh(&mut self) {
        self.used.extend(self.view.load().take_used_neighbours());
        for (port, address) in std::mem::take(&mut self.used) {
            self.probe(port, address).await;
        }
    }

    /// NTF_USE: the kernel behaves as if it had a packet for the neighbour (net/core/neighbour.c,
    /// `neigh_add`).
    async fn probe(&self, port: PortId, address: IpAddr) {
        let Some((ifindex, _)) = self.state.index.iter().find(|(_, id)| **id == port) else { return };
        let result = self
            .handle
            .neighbours()
            .add(*ifindex, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await;
        if let Err(error) = result
            && netlink_errno(&error) != Some(libc::ENOENT)
        {
            tracing::debug!(port, %address, %error, "the kernel does not resolve a neighbour");
        }
    }
}

impl Dirty {
    fn note(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        match &message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewNeighbour(_) | RouteNetlinkMessage::DelNeighbour(_),
            ) => self.neighbours = true,
            // Links, addresses, routes; and an overrun, after which anything may have changed.
            NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => {
                *self = Self { routes: true, neighbours: true };
            }
            _ => {}
        }
    }
}

fn ports(devices: &[Device], ports: &[(PortId, u32)]) -> Vec<(PortId, PortLink)> {
    ports
        .iter()
        .filter_map(|(port, ifindex)| {
            let device = devices.iter().find(|device| device.ifindex == *ifindex)?;
            let link = PortLink {
                ifindex: device.ifindex,
                name: device.name.clone(),
                mac: device.mac,
                mtu: u16::try_from(device.mtu).unwrap_or(u16::MAX),
                vlan: None,
                up: device.up,
            };
            Some((*port, link))
        })
        .collect()
}

fn own_address(message: &AddressMessage, index: &PortIndex) -> Option<(PortId, IpAddr)> {
    let port = *index.get(&message.header.index)?;
    // IFA_LOCAL is the own end of a point-to-point link; IPv6 has IFA_ADDRESS alone.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some((port, address))
}

/// Interval at which neighbours in use are confirmed; the kernel's own reachable time is 15 to 45
/// s.
const REFRESH: Duration = Duration::from_secs(5);
/// A neighbour that does not answer is probed again after this; the kernel gives up after 3 s.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Shortest pause between dumps.
const QUIET: Duration = Duration::from_millis(5);
/// Dumping uses at most this fraction (1/DUTY) of the housekeeping core.
const DUTY: u32 = 4;
