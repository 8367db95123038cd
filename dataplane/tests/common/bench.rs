//! The programs with the real maps, run by the kernel itself on one frame at a time.

use aya::maps::{HashMap, Map, MapData};
use aya::programs::{TestRun, TestRunOptions};
use dataplane::xdp::{KernelPolicy, Programs};
use ebpf_abi::{ClearFlow, PortConfig, map};
use sa_table::PolicyId;
use sa_table::policy::{Action, PortRecord, Prefix, Rule};
use sa_table::record::PortRange;

use super::Instance;

/// `XDP_DROP`: there are no sockets here; the counter shows which packets would go to a worker.
pub const DROP: u32 = 1;
pub const PASS: u32 = 2;
pub const TC_NEXT: u32 = u32::MAX;
pub const TC_SHOT: u32 = 2;

/// The ifindex of the loopback device, the default device of test runs.
pub const LOOPBACK: u32 = 1;

/// Packet metadata of the kernel: the fields of `struct __sk_buff` that a test run takes.
#[derive(Clone, Default)]
pub struct Context(Vec<u8>);

impl Context {
    const LENGTH: usize = 192;
    const IFINDEX: usize = 40;
    const GSO_SEGMENTS: usize = 164;
    const GSO_SIZE: usize = 176;

    /// The packet passes a device of this network namespace.
    pub fn device(ifindex: u32) -> Self {
        Self(Vec::new()).with(Self::IFINDEX, ifindex)
    }

    /// The kernel will cut the packet into segments.
    pub fn merged() -> Self {
        Self(Vec::new()).with(Self::GSO_SEGMENTS, 2).with(Self::GSO_SIZE, 1000)
    }

    fn with(mut self, offset: usize, value: u32) -> Self {
        self.0.resize(Self::LENGTH, 0);
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn options<'a>(&'a self, frame: &'a [u8]) -> TestRunOptions<'a> {
        let context = (!self.0.is_empty()).then_some(&self.0[..]);
        TestRunOptions { data_in: Some(frame), ctx_in: context, ..TestRunOptions::default() }
    }
}

pub struct Bench {
    pub programs: Programs,
    pub instance: Instance,
}

impl Bench {
    pub fn new(crypto_map: bool, rules: Vec<Rule>) -> Self {
        let instance = Instance::new();
        let mut programs = Programs::load(&instance.0).unwrap();
        let policy = policy(crypto_map, rules);
        programs.prepare(&policy).unwrap();
        programs.commit(&policy).unwrap();
        Self { programs, instance }
    }

    pub fn ingress(&mut self, frame: &[u8]) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = self.programs.ingress_program().test_run(options).unwrap();
        (result.return_value, self.counted(&before))
    }

    pub fn departure(&mut self, frame: &[u8]) -> (u32, &'static str) {
        self.departure_with(frame, &Context::default())
    }

    pub fn departure_with(&mut self, frame: &[u8], context: &Context) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let result = self.programs.departure_program().test_run(context.options(frame)).unwrap();
        (result.return_value, self.counted(&before))
    }

    pub fn arrival(&mut self, frame: &[u8]) -> (u32, &'static str) {
        self.arrival_with(frame, &Context::default())
    }

    pub fn arrival_with(&mut self, frame: &[u8], context: &Context) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let result = self.programs.arrival_program().test_run(context.options(frame)).unwrap();
        (result.return_value, self.counted(&before))
    }

    /// Changes the entry of a device, or sets it where there was none.
    pub fn set_entry(&self, ifindex: u32, change: impl FnOnce(&mut PortConfig)) {
        let mut ports = self.ports();
        let mut config = ports.get(&ifindex, 0).unwrap_or_default();
        change(&mut config);
        ports.insert(ifindex, config, 0).unwrap();
    }

    /// Removes the entry of a device.
    pub fn remove_entry(&self, ifindex: u32) {
        self.ports().remove(&ifindex).unwrap();
    }

    /// The flows that left in clear although another device's crypto map protects them.
    pub fn elsewhere(&self) -> Vec<(ClearFlow, u64)> {
        let flows: HashMap<MapData, ClearFlow, u64> =
            HashMap::try_from(Map::LruHashMap(self.pin(map::ELSEWHERE))).unwrap();
        flows.iter().map(|entry| entry.unwrap()).collect()
    }

    fn ports(&self) -> HashMap<MapData, u32, PortConfig> {
        HashMap::try_from(Map::HashMap(self.pin(map::PORTS))).unwrap()
    }

    fn pin(&self, name: &str) -> MapData {
        MapData::from_pin(self.programs.pins().join(name)).unwrap()
    }

    /// The one counter that moved.
    fn counted(&self, before: &[(&'static str, u64)]) -> &'static str {
        let after = self.programs.counters().unwrap();
        let moved: Vec<_> = before
            .iter()
            .zip(after)
            .filter(|((_, old), (_, new))| new - old == 1)
            .map(|((name, _), _)| *name)
            .collect();
        assert_eq!(moved.len(), 1, "each packet is counted once: {moved:?}");
        moved[0]
    }
}

pub fn policy(crypto_map: bool, rules: Vec<Rule>) -> KernelPolicy {
    let address = |text: &str| text.parse().unwrap();
    let port = |id: u16, ifindex: u32, has_crypto_map: bool| PortRecord {
        id,
        ifindex,
        device: "lo".to_owned(),
        ios_name: "GigabitEthernet0/0".to_owned(),
        mtu: 1500,
        has_crypto_map,
        crypto_addresses: vec![address("192.0.2.1"), address("2001:db8:ffff::1")],
        rule_list: has_crypto_map.then_some(0),
        ..PortRecord::default()
    };
    // The rules are those of another port when the device under test is an inside port.
    let ports = [port(0, 1, crypto_map), port(1, 4_000_000, true)];
    KernelPolicy::compile(&ports, &[rules], &[], |port| Some(u32::from(port.id)))
}

/// A policy without crypto map on its port, which has an access group `in`; without a socket, too.
pub fn filtered() -> KernelPolicy {
    let port = PortRecord {
        ifindex: 1,
        device: "lo".to_owned(),
        crypto_addresses: vec!["192.0.2.1".parse().unwrap()],
        ..PortRecord::default()
    };
    KernelPolicy::compile::<Vec<Rule>>(std::slice::from_ref(&port), &[], &[], |_| None)
        .with_filters(&[(1, sa_table::Direction::Inbound)], &[port])
}

pub fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
}

pub fn rule(source: &str, destination: &str, action: Action) -> Rule {
    Rule {
        source: prefix(source),
        destination: prefix(destination),
        protocol: None,
        source_ports: PortRange::ANY,
        destination_ports: PortRange::ANY,
        action,
    }
}

pub const PROTECT: Action = Action::Protect(PolicyId(0));

pub fn site_to_site() -> Vec<Rule> {
    vec![rule("10.1.0.0/16", "10.2.0.0/16", PROTECT), rule("2001:db8:1::/48", "2001:db8:2::/48", PROTECT)]
}

pub fn any_to_any() -> Vec<Rule> {
    vec![rule("0.0.0.0/0", "0.0.0.0/0", PROTECT), rule("::/0", "::/0", PROTECT)]
}
