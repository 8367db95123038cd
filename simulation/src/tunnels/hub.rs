//! The two configurations: a hub with an entry for each peer, and the peers, each on its own
//! interface.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use config::model::InterfaceName;
use controlplane::plan::{Device, Devices};
use sa_table::{Capacities, FiveTuple};

/// The end with one interface.
pub(super) const HUB: usize = 0;
/// The end with an interface for each tunnel.
pub(super) const SPOKES: usize = 1;

/// The idle timer of every tunnel.
pub(super) const IDLE: Duration = Duration::from_secs(120);

const HUB_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Dead peer detection is on, as usual; on demand, so that no probes are sent without traffic.
const IKE: &str = "crypto ike default-version 2
crypto ikev2 proposal p
 encryption aes-gcm-256
 prf sha256
 group 31
crypto ikev2 policy p
 proposal p
crypto isakmp key a-key-for-measurements address 0.0.0.0 0.0.0.0
crypto isakmp keepalive 10 3 on-demand
crypto ipsec transform-set ts esp-gcm 256
";

/// One slot and one policy for each tunnel.
pub fn capacities(count: u32) -> Capacities {
    Capacities {
        inbound_slots: count,
        outbound_slots: count,
        policies: count,
        // Two rules of 6 words are needed for each tunnel; a port takes 45.
        arena_words: 4096 + 64 * count,
        workers: 1,
        replay_words: 16,
        ring_entries: 256,
        checkpoint_words: 4096 + 256 * count,
    }
}

/// The address of a spoke.
fn spoke(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 1)) + number)
}

/// The network behind a spoke, a /24.
fn network(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + (number << 8))
}

/// A packet from behind a spoke to a host behind the hub.
pub(super) fn flow(number: u32) -> FiveTuple {
    FiveTuple {
        source: IpAddr::V4(Ipv4Addr::from(u32::from(network(number)) + 1)),
        destination: [172, 16, 0, 1].into(),
        protocol: 17,
        source_port: 1000,
        destination_port: 2000,
    }
}

/// The tunnel that an address behind a spoke belongs to.
pub(super) fn number_of(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(address) => Some((u32::from(address) - u32::from(Ipv4Addr::new(10, 0, 0, 0))) >> 8),
        IpAddr::V6(_) => None,
    }
}

/// The hub.
pub(super) fn hub(count: u32) -> String {
    let entry = |number| {
        format!(
            "ip access-list extended a{number}\n permit ip 172.16.0.0 0.0.255.255 {} 0.0.0.255\n\
             crypto map m {} ipsec-isakmp\n set peer {}\n set transform-set ts\n match address a{number}\n \
             set security-association idle-time {}\n",
            network(number),
            number + 1,
            spoke(number),
            IDLE.as_secs()
        )
    };
    let entries: String = (0..count).map(entry).collect();
    format!("{IKE}{entries}interface {}\n device outside\n crypto map m\n", hub_interface())
}

/// The spokes.
pub(super) fn spokes(count: u32) -> String {
    let entry = |number| {
        format!(
            "ip access-list extended a{number}\n permit ip {} 0.0.0.255 172.16.0.0 0.0.255.255\n\
             crypto map m{number} 1 ipsec-isakmp\n set peer {HUB_ADDRESS}\n set transform-set ts\n match address a{number}\n \
             set security-association idle-time {}\n\
             interface {}\n device out{number}\n crypto map m{number}\n",
            network(number),
            IDLE.as_secs(),
            spoke_interface(number)
        )
    };
    IKE.to_owned() + &(0..count).map(entry).collect::<String>()
}

/// The kernel's data about the devices of an end.
pub(super) fn devices(end: usize, count: u32) -> Devices {
    let device =
        |ifindex, address| Device { ifindex, mtu: 1500, addresses: vec![IpAddr::V4(address)], up: true };
    let of_spoke =
        |number| Some((InterfaceName::parse(&spoke_interface(number))?, device(number + 3, spoke(number))));
    match end {
        HUB => InterfaceName::parse(hub_interface())
            .map(|name| (name, device(3, HUB_ADDRESS)))
            .into_iter()
            .collect(),
        _ => (0..count).filter_map(of_spoke).collect(),
    }
}

fn hub_interface() -> &'static str {
    "GigabitEthernet0/1"
}

fn spoke_interface(number: u32) -> String {
    format!("GigabitEthernet1/{number}")
}
