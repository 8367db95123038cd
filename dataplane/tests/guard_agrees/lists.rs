//! Rule lists that overlap, jump and use every condition of a permit or a deny, and the devices
//! that they apply to.

use std::net::IpAddr;

use dataplane::host::kernel::{Device, LinkType};
use dataplane::xdp::{KernelPolicy, everywhere};
use sa_table::policy::{Action, PortRecord, Prefix, Rule, union};
use sa_table::{PolicyId, PortRange};

use crate::common::bench::LOOPBACK;
use crate::random::Random;

/// Role of the device under test in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The device of an interface with a crypto map.
    Mapped,
    /// The same, with the guard using address classes alone.
    Coarse,
    /// The device of an interface without crypto map.
    Open,
    /// A device that the configuration does not name.
    Unknown,
}

pub struct Scene {
    pub role: Role,
    /// Frames begin with the IP header.
    pub raw_ip: bool,
    pub ports: Vec<PortRecord>,
    /// The list of the port under test, and that of another port, whose map may have `fail-close`.
    pub lists: Vec<Vec<Rule>>,
}

/// Addresses of ours that peers send ESP and IKE to.
pub const OWN: [&str; 2] = ["192.0.2.1", "2001:db8:ffff::1"];
/// Number of the port under test.
pub const PORT: u16 = 0;

impl Scene {
    pub fn new(random: &mut Random) -> Self {
        let role =
            random.pick(&[Role::Mapped, Role::Mapped, Role::Mapped, Role::Open, Role::Unknown, Role::Coarse]);
        let lists = vec![list(random), list(random)];
        let fail_close = random.one_in(3);
        let own = || OWN.iter().map(|text| text.parse().unwrap()).collect();
        let under_test = PortRecord {
            id: PORT,
            ifindex: LOOPBACK,
            device: "lo".to_owned(),
            ios_name: "GigabitEthernet0/0".to_owned(),
            mtu: 1500,
            has_crypto_map: role != Role::Open,
            crypto_addresses: own(),
            rule_list: (role != Role::Open).then_some(0),
            ..PortRecord::default()
        };
        let other = PortRecord {
            id: PORT + 1,
            // No device of this machine has that number, but the policy treats it as present.
            ifindex: 4_000_000,
            device: "other".to_owned(),
            ios_name: "GigabitEthernet0/1".to_owned(),
            has_crypto_map: true,
            fail_close,
            rule_list: Some(1),
            ..under_test.clone()
        };
        let ports = if role == Role::Unknown { vec![other] } else { vec![under_test, other] };
        Self { role, raw_ip: random.one_in(4), ports, lists }
    }

    pub fn kernel_policy(&self) -> KernelPolicy {
        let link_type = if self.raw_ip { LinkType::RawIp } else { LinkType::Ethernet };
        let device = Device { ifindex: LOOPBACK, name: "lo".to_owned(), link_type, ..Device::default() };
        KernelPolicy::compile(&self.ports, &self.lists, &[device], |port| Some(u32::from(port.id)))
    }

    /// What is closed on every device.
    pub fn everywhere(&self) -> Vec<Rule> {
        everywhere(&self.ports, &self.lists)
    }

    /// What any crypto map protects.
    pub fn protected(&self) -> Vec<Rule> {
        let applied = self.ports.iter().filter_map(|port| self.lists.get(port.rule_list? as usize));
        union(applied.map(Vec::as_slice))
    }
}

fn list(random: &mut Random) -> Vec<Rule> {
    let count = match random.below(12) {
        0 => 0,
        1 => random.between(40, 200),
        2..=5 => random.between(9, 40),
        _ => random.between(1, 8),
    };
    (0..count).map(|index| rule(random, index, count)).collect()
}

fn rule(random: &mut Random, index: usize, count: usize) -> Rule {
    let v4 = random.below(5) < 3;
    let protocol = match random.below(10) {
        0..=3 => None,
        4 => Some(6),
        5 => Some(17),
        6 => Some(if v4 { 1 } else { 58 }),
        7 => Some(random.pick(&[17, 50, 51, 132, 136, 33])),
        8 => Some(random.pick(&[0, 43, 44, 60, 47, 89, 59])),
        _ => Some(random.octet()),
    };
    let is_icmp = matches!(protocol, Some(1 | 58));
    let with_ports =
        is_icmp && random.one_in(2) || matches!(protocol, Some(6 | 17 | 132 | 136 | 33)) || random.one_in(12);
    let ports = |random: &mut Random| if with_ports { ports(random, is_icmp) } else { PortRange::ANY };
    let source_ports = ports(random);
    // For ICMP both fields have type and code.
    let destination_ports = if is_icmp { source_ports } else { ports(random) };
    let action = match random.below(10) {
        0..=5 => Action::Protect(PolicyId(index as u32)),
        6 => Action::Drop,
        _ => Action::Jump(random.between(index + 1, count) as u32),
    };
    Rule {
        source: prefix(random, v4),
        destination: prefix(random, v4),
        protocol,
        source_ports,
        destination_ports,
        action,
    }
}

fn ports(random: &mut Random, is_icmp: bool) -> PortRange {
    if is_icmp {
        let kind = u16::from(random.pick(&[0_u8, 1, 3, 8, 11, 128, 129, 135, 137, 255])) << 8;
        return match random.below(3) {
            0 => PortRange::single(kind | u16::from(random.pick(&[0_u8, 1, 4, 255]))),
            _ => PortRange { first: kind, last: kind | 0xff },
        };
    }
    match random.below(6) {
        0 | 1 => PortRange::ANY,
        2 => PortRange::single(random.pick(&PORTS)),
        3 => PortRange { first: random.pick(&PORTS), last: u16::MAX },
        4 => PortRange { first: 0, last: random.pick(&PORTS) },
        _ => {
            let (one, other) = (random.pick(&PORTS), random.pick(&PORTS));
            PortRange { first: one.min(other), last: one.max(other) }
        }
    }
}

/// Ports that rules begin and end with.
pub const PORTS: [u16; 10] = [0, 1, 22, 53, 443, 500, 1024, 4500, 40000, 65535];

/// Few networks, so that prefixes nest.
fn prefix(random: &mut Random, v4: bool) -> Prefix {
    if v4 {
        let address = address_v4(random);
        let length = random.pick(&[0, 1, 7, 8, 9, 14, 15, 16, 17, 23, 24, 25, 31, 32]);
        Prefix { address, length }
    } else {
        let address = address_v6(random);
        let length = random.pick(&[0, 1, 10, 32, 33, 47, 48, 63, 64, 65, 96, 97, 127, 128]);
        Prefix { address, length }
    }
}

pub fn address_v4(random: &mut Random) -> IpAddr {
    match random.below(16) {
        0 => OWN[0].parse().unwrap(),
        1 => [224, 0, 0, random.pick(&[1, 5, 251])].into(),
        2 => [255; 4].into(),
        3 => [169, 254, 0, 1].into(),
        4 => [127, 0, 0, 1].into(),
        5 => [0; 4].into(),
        _ => [10, random.pick(&[0, 1, 2, 3]), random.pick(&[0, 1, 128, 255]), random.pick(&[0, 1, 128, 255])]
            .into(),
    }
}

pub fn address_v6(random: &mut Random) -> IpAddr {
    let mut address = [0; 16];
    match random.below(16) {
        0 => return OWN[1].parse().unwrap(),
        1 => address[..2].copy_from_slice(&[0xff, 0x02]),
        2 => address[..2].copy_from_slice(&[0xfe, 0x80]),
        3 => {}
        _ => {
            address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            address[5] = random.pick(&[0, 1, 2, 3]);
            address[7] = random.pick(&[0, 1, 0x80]);
            address[8] = random.pick(&[0, 0x80, 0xff]);
        }
    }
    address[15] = random.pick(&[0, 1, 2, 0xff]);
    address.into()
}
