//! The two programs with the real maps, run by the kernel itself on one frame at a time.

use aya::programs::{TestRun, TestRunOptions};
use dataplane::xdp::{KernelPolicy, Programs};
use sa_table::PolicyId;
use sa_table::policy::{Action, PortRecord, Prefix, Rule};
use sa_table::record::PortRange;

use super::Instance;

/// `XDP_DROP`: nobody has a socket here, so what goes to a worker ends as a drop; the counter tells which.
pub const DROP: u32 = 1;
pub const PASS: u32 = 2;
pub const TC_NEXT: u32 = u32::MAX;
pub const TC_SHOT: u32 = 2;

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
        let result = self.programs.ingress_program().unwrap().test_run(options).unwrap();
        (result.return_value, self.counted(&before))
    }

    pub fn egress(&mut self, frame: &[u8]) -> (u32, &'static str) {
        let before = self.programs.counters().unwrap();
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = self.programs.departure_program().unwrap().test_run(options).unwrap();
        (result.return_value, self.counted(&before))
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
    KernelPolicy::compile(&ports, &[rules], |port| Some(u32::from(port.id)))
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
