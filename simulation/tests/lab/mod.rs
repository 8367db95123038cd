//! Test networks: gateways by address and configuration text, and flows between hosts behind them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::net::IpAddr;

use config::command::{ClearCommand, Filter, ShowCommand};
use config::edit::Offline;
use config::model::InterfaceName;
use controlplane::plan::{Device, Devices};
use sa_table::{Capacities, FiveTuple};
use simulation::crypto::CHEAP;
use simulation::gateway::Setup;
use simulation::network::{Network, ORIGIN, Sabotage};
use simulation::random::Stream;

/// Capacities for some hundreds of tunnels.
pub const ROOM: Capacities = Capacities {
    inbound_slots: 512,
    outbound_slots: 512,
    policies: 512,
    arena_words: 16_384,
    workers: 1,
    replay_words: 16,
    ring_entries: 64,
    checkpoint_words: 65_536,
};

/// IKE settings common to all gateways of these tests.
pub const IKE: &str = "crypto ike give-up 10
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key simulated address 0.0.0.0 0.0.0.0
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts esp-gcm
interface GigabitEthernet0/1
 device outside
 crypto map m
";

/// A gateway of the network.
pub fn setup(address: &str, configuration: &str, capacities: Capacities) -> Setup {
    let loaded = config::file::parse(address, configuration, &mut Offline);
    let configuration = loaded.unwrap_or_else(|error| panic!("{error}")).configuration;
    let address: IpAddr = address.parse().unwrap();
    let device = Device { ifindex: 3, mtu: 1500, addresses: vec![address], up: true };
    let devices = Devices::from([(InterfaceName::parse("GigabitEthernet0/1").unwrap(), device)]);
    Setup { name: address.to_string(), address, configuration, devices, capacities }
}

/// A network of gateways by address and configuration text, started.
pub fn network(seed: u64, gateways: &[(&str, String)]) -> Network {
    let setups = gateways.iter().map(|(address, text)| setup(address, text, ROOM)).collect();
    let mut network = Network::new(setups, &CHEAP, &Stream::new(seed), Sabotage::None).unwrap();
    network.timeline = Some(Vec::new());
    network.start();
    network
}

/// UDP between two hosts, sent through a gateway; does not send at first.
pub fn flow(network: &mut Network, gateway: usize, from: &str, to: &str) -> usize {
    let tuple = FiveTuple {
        source: from.parse().unwrap(),
        destination: to.parse().unwrap(),
        protocol: 17,
        source_port: 1000,
        destination_port: 2000,
    };
    network.add_flow(gateway, tuple, false)
}

/// Advances the time.
pub fn pass(network: &mut Network, seconds: u64) {
    network.run_until(network.now + seconds * 1000);
}

/// Milliseconds since the start.
pub fn elapsed(network: &Network) -> u64 {
    network.now - ORIGIN
}

/// The output of a show command at a gateway.
pub fn show(network: &Network, gateway: usize, command: &ShowCommand) -> String {
    let gateway = &network.gateways[gateway];
    gateway.control.show(gateway.clock(network.now), command).unwrap()
}

/// `show crypto map`.
pub fn show_map(network: &Network, gateway: usize) -> String {
    show(network, gateway, &ShowCommand::CryptoMap(Filter::default()))
}

/// `clear crypto session`.
pub fn clear(network: &mut Network, gateway: usize) {
    network.clear(gateway, &ClearCommand::Sessions(Filter::default()));
}

/// Replies of a flow so far.
pub fn answered(network: &Network, flow: usize) -> u64 {
    network.flows[flow].answered
}

/// The timeline, for a failing assertion.
pub fn timeline(network: &Network) -> String {
    let lines = network.timeline.iter().flatten();
    lines.map(|line| format!("{:9} {} {}\n", line.at, line.who, line.text)).collect()
}
