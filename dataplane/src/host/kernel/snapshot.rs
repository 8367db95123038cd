//! An immutable snapshot of the kernel's tables: the only source of routes and neighbours for
//! workers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::interval_map::IntervalMap;

/// The id of a data-plane port, as the PORTS blob numbers it.
pub type PortId = u16;

/// The result of a route look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An address of this host: the packet goes to the punt port.
    Local,
    /// Through a gateway that is a neighbour on `port`.
    Via {
        /// Egress port.
        port: PortId,
        /// The gateway's address. It may be of the other IP version (RFC 5549 routes).
        next_hop: IpAddr,
    },
    /// The destination itself is a neighbour on `port`.
    OnLink {
        /// Egress port.
        port: PortId,
    },
    /// Left to the kernel: the route leads to an interface that is not a data-plane port, or is a
    /// broadcast or multicast destination.
    ToKernel,
    /// A blackhole, unreachable or prohibit route: the packet gets an ICMP error or is dropped.
    Unreachable,
    /// No route covers the destination.
    None,
}

/// What a worker needs to know about the device behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLink {
    /// Linux interface index.
    pub ifindex: u32,
    /// Linux device name.
    pub name: String,
    /// The device's own hardware address: the source of every frame we send there.
    pub mac: [u8; 6],
    /// Largest layer-3 packet, in bytes.
    pub mtu: u16,
    /// 802.1Q tag that frames of the port carry on the device (12 bits). A Linux VLAN device adds
    /// and removes its tag itself, so the mirror leaves this empty for it.
    pub vlan: Option<u16>,
    /// Administratively up and carrier present.
    pub up: bool,
}

/// An immutable snapshot of the kernel's links, addresses, routes and neighbours. Built by the
/// mirror (or by [`SnapshotBuilder`] in tests), published through [`super::KernelView`].
#[derive(Debug, Default)]
pub struct KernelSnapshot {
    generation: u64,
    tables: Arc<RouteTables>,
    neighbours: HashMap<(PortId, IpAddr), Neighbour, BuildHasherDefault<NeighbourHasher>>,
    ports: Vec<Option<PortLink>>,
    addresses: Vec<(PortId, IpAddr)>,
}

impl KernelSnapshot {
    /// Incremented by route, link and address changes (not by neighbour changes): a flow cache
    /// entry of another generation is stale. Starts at 1; 0 is never used.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the kernel would send a packet for `destination`: its local table first, then the main
    /// table, longest prefix first, lowest metric first, the first next hop of a multipath route.
    #[inline]
    #[must_use]
    pub fn lookup_route(&self, destination: IpAddr) -> Route {
        match destination {
            IpAddr::V4(v4) => self.tables.lookup_v4(v4),
            IpAddr::V6(v6) => self.tables.lookup_v6(v6),
        }
    }

    /// The hardware address of a neighbour, if the kernel has one (reachable, stale, or being
    /// probed). Marks the entry as used, which keeps the mirror refreshing it. If `None`, request
    /// it by [`super::KernelView::resolve`] and hold the packet.
    #[inline]
    #[must_use]
    pub fn neighbour(&self, port: PortId, address: IpAddr) -> Option<[u8; 6]> {
        let entry = self.neighbours.get(&(port, address))?;
        // The load keeps the cache line shared: the store happens once per refresh period, not per
        // packet.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.mac)
    }

    /// The device behind a port; `None` while the device does not exist.
    #[inline]
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&PortLink> {
        self.ports.get(usize::from(port))?.as_ref()
    }

    /// All ports with a device, by id.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &PortLink)> {
        self.ports
            .iter()
            .enumerate()
            .filter_map(|(id, link)| Some((PortId::try_from(id).ok()?, link.as_ref()?)))
    }

    /// Whether `address` is one of this host's own (any interface, loopback included).
    #[inline]
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.lookup_route(address) == Route::Local
    }

    /// The addresses configured on `port`: sources for ICMP errors.
    pub fn addresses(&self, port: PortId) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |(owner, _)| *owner == port).map(|(_, address)| *address)
    }

    /// Takes the neighbours that were used since the last call: the mirror's refresh pass.
    pub(super) fn take_used_neighbours(&self) -> Vec<(PortId, IpAddr)> {
        self.neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.used.swap(false, Ordering::Relaxed))
            .map(|(key, _)| *key)
            .collect()
    }

    pub(super) fn tables(&self) -> Arc<RouteTables> {
        Arc::clone(&self.tables)
    }
}

/// The longest-prefix tables, shared between snapshots that differ in neighbours only.
#[derive(Debug, Default)]
pub(super) struct RouteTables {
    local_v4: IntervalMap<u32, Route>,
    main_v4: IntervalMap<u32, Route>,
    local_v6: IntervalMap<u128, Route>,
    main_v6: IntervalMap<u128, Route>,
}

impl RouteTables {
    fn lookup_v4(&self, destination: Ipv4Addr) -> Route {
        let key = u32::from(destination);
        self.local_v4.lookup(key).or_else(|| self.main_v4.lookup(key)).copied().unwrap_or(Route::None)
    }

    fn lookup_v6(&self, destination: Ipv6Addr) -> Route {
        let key = u128::from(destination);
        self.local_v6.lookup(key).or_else(|| self.main_v6.lookup(key)).copied().unwrap_or(Route::None)
    }
}

/// The kernel table of a route. Every local route is tried before any main route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Local,
    Main,
}

/// Builds a snapshot. The mirror fills it from netlink; tests fill it directly.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    generation: u64,
    routes_v4: Vec<(Table, u32, u8, u32, Route)>,
    routes_v6: Vec<(Table, u128, u8, u32, Route)>,
    tables: Option<Arc<RouteTables>>,
    snapshot: KernelSnapshot,
}

impl SnapshotBuilder {
    /// An empty snapshot of generation 1.
    #[must_use]
    pub fn new() -> Self {
        Self { generation: 1, ..Self::default() }
    }

    /// Sets the generation, see [`KernelSnapshot::generation`].
    #[must_use]
    pub fn generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Adds the device of a port.
    #[must_use]
    pub fn port(mut self, port: PortId, link: PortLink) -> Self {
        let index = usize::from(port);
        if self.snapshot.ports.len() <= index {
            self.snapshot.ports.resize(index + 1, None);
        }
        if let Some(place) = self.snapshot.ports.get_mut(index) {
            *place = Some(link);
        }
        self
    }

    /// Adds an address of this host on `port`, with its local route.
    #[must_use]
    pub fn address(mut self, port: PortId, address: IpAddr) -> Self {
        self.snapshot.addresses.push((port, address));
        let bits = if address.is_ipv4() { 32 } else { 128 };
        self.table_route(Table::Local, address, bits, 0, Route::Local)
    }

    /// Adds a route of the main table. Of two equal prefixes the lower `metric` wins. `length`
    /// beyond the address size is clamped.
    #[must_use]
    pub fn route(self, prefix: IpAddr, length: u8, metric: u32, route: Route) -> Self {
        self.table_route(Table::Main, prefix, length, metric, route)
    }

    /// Adds a resolved neighbour.
    #[must_use]
    pub fn neighbour(mut self, port: PortId, address: IpAddr, mac: [u8; 6]) -> Self {
        self.snapshot.neighbours.insert((port, address), Neighbour { mac, used: AtomicBool::new(false) });
        self
    }

    pub(super) fn own_address(mut self, port: PortId, address: IpAddr) -> Self {
        self.snapshot.addresses.push((port, address));
        self
    }

    pub(super) fn table_route(
        mut self,
        table: Table,
        prefix: IpAddr,
        length: u8,
        metric: u32,
        route: Route,
    ) -> Self {
        match prefix {
            IpAddr::V4(v4) => self.routes_v4.push((table, u32::from(v4), length.min(32), metric, route)),
            IpAddr::V6(v6) => self.routes_v6.push((table, u128::from(v6), length.min(128), metric, route)),
        }
        self
    }

    /// Re-uses the tables of an earlier snapshot: only neighbours changed.
    pub(super) fn with_tables(mut self, tables: Arc<RouteTables>) -> Self {
        self.tables = Some(tables);
        self
    }

    /// Builds the snapshot.
    #[must_use]
    pub fn build(mut self) -> KernelSnapshot {
        self.snapshot.generation = self.generation;
        self.snapshot.tables = self.tables.take().unwrap_or_else(|| {
            Arc::new(RouteTables {
                local_v4: IntervalMap::from_prefixes(select(&self.routes_v4, Table::Local)),
                main_v4: IntervalMap::from_prefixes(select(&self.routes_v4, Table::Main)),
                local_v6: IntervalMap::from_prefixes(select(&self.routes_v6, Table::Local)),
                main_v6: IntervalMap::from_prefixes(select(&self.routes_v6, Table::Main)),
            })
        });
        self.snapshot
    }
}

/// The routes of one table with the best metric of each prefix.
fn select<K: Copy + Ord>(routes: &[(Table, K, u8, u32, Route)], wanted: Table) -> Vec<(K, u8, Route)> {
    let mut chosen: Vec<_> = routes.iter().filter(|(table, ..)| *table == wanted).collect();
    chosen.sort_by_key(|(_, prefix, length, metric, _)| (*prefix, *length, *metric));
    chosen.dedup_by_key(|(_, prefix, length, ..)| (*prefix, *length));
    chosen.into_iter().map(|(_, prefix, length, _, route)| (*prefix, *length, *route)).collect()
}

#[derive(Debug)]
struct Neighbour {
    mac: [u8; 6],
    /// A worker used the entry since the mirror last cleared the flag.
    used: AtomicBool,
}

/// A short multiplicative hash. The keys are the kernel's own neighbour entries, whose number the
/// kernel bounds (`gc_thresh3`), so a peer cannot grow a long chain here.
#[derive(Default)]
struct NeighbourHasher(u64);

impl Hasher for NeighbourHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn snapshot() -> KernelSnapshot {
        SnapshotBuilder::new()
            .address(1, ip("192.0.2.1"))
            .route(ip("0.0.0.0"), 0, 0, Route::Via { port: 0, next_hop: ip("198.51.100.9") })
            .route(ip("192.0.2.0"), 24, 0, Route::OnLink { port: 1 })
            .route(ip("10.0.0.0"), 8, 20, Route::Via { port: 1, next_hop: ip("192.0.2.8") })
            .route(ip("10.0.0.0"), 8, 10, Route::Via { port: 1, next_hop: ip("192.0.2.7") })
            .route(ip("10.9.0.0"), 16, 0, Route::Unreachable)
            .route(ip("2001:db8::"), 32, 0, Route::ToKernel)
            .neighbour(1, ip("192.0.2.7"), [2, 0, 0, 0, 0, 7])
            .build()
    }

    #[test]
    fn longest_prefix_wins() {
        let kernel = snapshot();
        assert_eq!(kernel.lookup_route(ip("10.9.1.1")), Route::Unreachable);
        assert_eq!(kernel.lookup_route(ip("192.0.2.200")), Route::OnLink { port: 1 });
        assert_eq!(kernel.lookup_route(ip("8.8.8.8")), Route::Via { port: 0, next_hop: ip("198.51.100.9") });
    }

    #[test]
    fn lower_metric_wins() {
        let route = snapshot().lookup_route(ip("10.1.1.1"));
        assert_eq!(route, Route::Via { port: 1, next_hop: ip("192.0.2.7") });
    }

    #[test]
    fn own_addresses_come_before_the_main_table() {
        let kernel = SnapshotBuilder::new()
            .address(0, ip("10.1.1.1"))
            .route(ip("10.1.1.1"), 32, 0, Route::Unreachable)
            .build();
        assert!(kernel.is_local(ip("10.1.1.1")));
        assert_eq!(kernel.addresses(0).collect::<Vec<_>>(), [ip("10.1.1.1")]);
        assert_eq!(kernel.addresses(1).count(), 0);
    }

    #[test]
    fn versions_do_not_mix() {
        let kernel = snapshot();
        assert_eq!(kernel.lookup_route(ip("2001:db8::1")), Route::ToKernel);
        assert_eq!(kernel.lookup_route(ip("2001:db9::1")), Route::None);
    }

    #[test]
    fn looking_a_neighbour_up_marks_it_used_once() {
        let kernel = snapshot();
        assert_eq!(kernel.take_used_neighbours(), []);
        assert_eq!(kernel.neighbour(1, ip("192.0.2.7")), Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(kernel.neighbour(0, ip("192.0.2.7")), None);
        assert_eq!(kernel.take_used_neighbours(), [(1, ip("192.0.2.7"))]);
        assert_eq!(kernel.take_used_neighbours(), []);
    }
}
