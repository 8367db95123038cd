//! The configured ports joined with the machine's devices.

use std::collections::BTreeMap;

use ebpf_abi::{MAX_PORTS, MAX_QUEUES};
use sa_table::{PolicySnapshot, PortRecord};

use crate::failure::Failure;
use crate::kernel::{Device, PortId};

/// A port whose device exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Number in the configuration.
    pub id: PortId,
    /// Linux device name.
    pub device: String,
    /// Name in the configuration.
    pub ios_name: String,
    /// Linux interface index, as it is now.
    pub ifindex: u32,
    /// Receive queues of the device.
    pub queues: u32,
    /// Place in the socket map.
    pub place: u32,
    /// A crypto map is applied.
    pub crypto_map: bool,
}

/// A port whose device exists and that gets no sockets: its programs drop what would go to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPort {
    /// Linux device name.
    pub device: String,
    /// Name in the configuration.
    pub ios_name: String,
    /// Linux interface index, as it is now.
    pub ifindex: u32,
    /// A crypto map is applied.
    pub crypto_map: bool,
    /// Why it gets none, with the remedy.
    pub reason: String,
}

/// What a look at configuration and machine gave.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Ports with a device.
    pub bound: Vec<BoundPort>,
    /// The configuration's records with today's interface indices; 0 without device.
    pub records: Vec<PortRecord>,
    /// Ports with a device that cannot be used.
    pub closed: Vec<ClosedPort>,
    /// Ports without a device: device, IOS name, reason.
    pub missing: Vec<(String, String, String)>,
}

impl Ports {
    /// Joins a published policy with the devices. `before` keeps the places of ports in the socket map. `queues` tells the receive
    /// queues of a device.
    #[must_use]
    pub fn join(
        snapshot: &PolicySnapshot,
        devices: &[Device],
        before: &Ports,
        queues: impl Fn(&str) -> std::io::Result<u32>,
    ) -> Self {
        let stays = |port: &&BoundPort| snapshot.ports.iter().any(|record| record.id == port.id);
        let mut places: BTreeMap<PortId, u32> =
            before.bound.iter().filter(stays).map(|port| (port.id, port.place)).collect();
        let mut ports = Self::default();
        for record in &snapshot.ports {
            let mut record = record.clone();
            // The index in the record was true when it was written; the name is what the operator configured.
            let found = devices.iter().find(|device| device.name == record.device);
            record.ifindex = found.map_or(0, |device| device.ifindex);
            let (device, ios_name) = (record.device.clone(), record.ios_name.clone());
            let (ifindex, crypto_map) = (record.ifindex, record.has_crypto_map);
            match found.map(|found| {
                let queues = usable(found, &queues)?;
                Ok((queues, place(&mut places, record.id)?))
            }) {
                Some(Ok((queues, place))) => {
                    let id = record.id;
                    ports.bound.push(BoundPort { id, device, ios_name, ifindex, queues, place, crypto_map });
                }
                Some(Err(reason)) => {
                    ports.closed.push(ClosedPort { device, ios_name, ifindex, crypto_map, reason });
                }
                None => {
                    let reason = "does not exist; create it or correct the device name".to_owned();
                    ports.missing.push((device, ios_name, reason));
                }
            }
            ports.records.push(record);
        }
        ports
    }

    /// The first port without a device, as the end of the process.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let (device, ios_name, reason) = self.missing.first()?.clone();
        Some(Failure::Interface { device, ios_name, reason })
    }

    /// Whether a port that was closed could be used now.
    #[must_use]
    pub fn can_open(&self, devices: &[Device], queues: impl Fn(&str) -> std::io::Result<u32>) -> bool {
        let usable_now = |port: &ClosedPort| {
            let device = devices.iter().find(|device| device.ifindex == port.ifindex);
            device.is_some_and(|device| usable(device, &queues).is_ok())
        };
        self.bound.len() < MAX_PORTS as usize && self.closed.iter().any(usable_now)
    }

    /// Whether the programs belong on the device: it is that of a port, whether it can be used or not.
    #[must_use]
    pub fn has_programs(&self, ifindex: u32) -> bool {
        self.records.iter().any(|record| record.ifindex == ifindex)
    }

    /// What sockets and workers depend on: a change of it needs new sockets.
    #[must_use]
    pub fn shape(&self) -> Vec<(PortId, u32, u32)> {
        self.bound.iter().map(|port| (port.id, port.ifindex, port.queues)).collect()
    }
}

/// The receive queues of a device that can be a port.
fn usable(device: &Device, queues: impl Fn(&str) -> std::io::Result<u32>) -> Result<u32, String> {
    if device.mtu > LARGEST_MTU {
        return Err(format!(
            "its MTU of {} is too large for packet memory; set it to {LARGEST_MTU} or less",
            device.mtu
        ));
    }
    let queues = queues(&device.name).map_err(|error| format!("its queues cannot be read ({error})"))?;
    if queues > MAX_QUEUES {
        return Err(format!(
            "it has {queues} queues, at most {MAX_QUEUES} can be used; reduce them with ethtool -L"
        ));
    }
    Ok(queues)
}

fn place(places: &mut BTreeMap<PortId, u32>, id: PortId) -> Result<u32, String> {
    if let Some(place) = places.get(&id) {
        return Ok(*place);
    }
    let free = (0..MAX_PORTS).find(|place| !places.values().any(|taken| taken == place));
    let place = free.ok_or_else(|| {
        format!(
            "the socket map holds {MAX_PORTS} ports, which others take; shut an interface that is not needed"
        )
    })?;
    places.insert(id, place);
    Ok(place)
}

/// A frame of 4096 bytes less the kernel's 256, our headroom of 256, and what encapsulation adds at both ends.
const LARGEST_MTU: u32 = 3400;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u16, device: &str) -> PortRecord {
        PortRecord {
            id,
            ifindex: 99,
            device: device.to_owned(),
            ios_name: format!("GigabitEthernet0/{id}"),
            mtu: 1500,
            has_crypto_map: false,
            crypto_addresses: Vec::new(),
            rule_list: None,
            ..PortRecord::default()
        }
    }

    fn loopback(mtu: u32) -> Device {
        Device { ifindex: 1, name: "lo".to_owned(), mac: [0; 6], mtu, up: true, xdp: None, kind: None }
    }

    fn snapshot(ports: Vec<PortRecord>) -> PolicySnapshot {
        PolicySnapshot { ports, ..PolicySnapshot::default() }
    }

    fn join(snapshot: &PolicySnapshot, devices: &[Device], before: &Ports) -> Ports {
        Ports::join(snapshot, devices, before, |_| Ok(1))
    }

    #[test]
    fn the_device_name_decides_not_the_index() {
        let ports = join(&snapshot(vec![record(3, "lo")]), &[loopback(1500)], &Ports::default());
        assert_eq!((ports.bound[0].ifindex, ports.bound[0].queues, ports.records[0].ifindex), (1, 1, 1));
        assert!(ports.failure().is_none());
    }

    #[test]
    fn an_absent_device_is_named_with_a_remedy_and_an_unusable_one_is_closed() {
        let both = snapshot(vec![record(1, "tohub-none"), record(2, "lo")]);
        let ports = join(&both, &[loopback(9000)], &Ports::default());
        assert_eq!((ports.bound.len(), ports.missing.len(), ports.closed.len()), (0, 1, 1));
        let closed = &ports.closed[0];
        assert!(closed.reason.contains("3400"));
        assert_eq!((closed.ifindex, ports.records[1].ifindex), (1, 1), "its programs stay, without sockets");
        let failure = ports.failure().unwrap();
        assert_eq!(failure.exit_code(), 6);
        assert!(failure.to_string().contains("tohub-none"));
    }

    fn many(count: u32) -> (PolicySnapshot, Vec<Device>) {
        let records = (0..count).map(|n| record(u16::try_from(n).unwrap(), &format!("eth{n}"))).collect();
        let device = |n| Device { ifindex: n + 10, name: format!("eth{n}"), ..loopback(1500) };
        (snapshot(records), (0..count).map(device).collect())
    }

    #[test]
    fn ports_beyond_the_socket_map_are_closed_and_named() {
        let (policy, devices) = many(MAX_PORTS + 2);
        let ports = join(&policy, &devices, &Ports::default());
        assert_eq!((ports.bound.len(), ports.closed.len()), (MAX_PORTS as usize, 2));
        assert_eq!((ports.closed[0].device.as_str(), ports.closed[0].ifindex), ("eth64", 74));
        assert!(ports.closed[0].reason.contains("64 ports"), "{}", ports.closed[0].reason);
        assert!(ports.failure().is_none(), "the others go on");
        assert!(!ports.can_open(&devices, |_| Ok(1)), "there is no place");
        let later = join(&snapshot(policy.ports[1..].to_vec()), &devices, &ports);
        assert_eq!((later.bound.len(), later.closed.len()), (MAX_PORTS as usize, 1));
    }

    #[test]
    fn a_device_with_more_queues_than_places_is_closed_and_named() {
        let (policy, devices) = many(2);
        let queues = |device: &str| Ok(if device == "eth0" { MAX_QUEUES + 1 } else { MAX_QUEUES });
        let ports = Ports::join(&policy, &devices, &Ports::default(), queues);
        assert_eq!((ports.bound[0].device.as_str(), ports.closed[0].device.as_str()), ("eth1", "eth0"));
        assert!(ports.closed[0].reason.contains("ethtool -L"));
        assert!(ports.failure().is_none());
        assert!(!ports.can_open(&devices, queues));
        assert!(ports.can_open(&devices, |_| Ok(1)));
    }

    #[test]
    fn a_port_keeps_its_place_when_another_one_goes() {
        let devices = [loopback(1500)];
        let first = join(&snapshot(vec![record(1, "lo"), record(2, "lo")]), &devices, &Ports::default());
        let second = join(&snapshot(vec![record(2, "lo"), record(7, "lo")]), &devices, &first);
        assert_eq!(first.bound[1].place, second.bound[0].place);
        assert_ne!(second.bound[0].place, second.bound[1].place);
    }
}
