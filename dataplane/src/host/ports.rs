//! The configured ports joined with the machine's devices.

use std::collections::BTreeMap;

use ebpf_abi::{MAX_PORTS, MAX_QUEUES};
use sa_table::{Direction, PolicySnapshot, PortRecord};

use crate::failure::Failure;
use crate::host::kernel::{Device, LinkType, PortId};
use af_xdp::device::receive_queues;

/// A port whose device exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Number of this binding of an interface to a device, see [`Bindings`].
    pub id: PortId,
    /// Linux device name.
    pub device: String,
    /// Name in the configuration.
    pub ios_name: String,
    /// Linux interface index, as it is now.
    pub ifindex: u32,
    /// Receive queues of the device.
    pub queues: u32,
    /// Index in the socket map.
    pub place: u32,
    /// A crypto map is applied.
    pub crypto_map: bool,
}

/// Numbers of bindings. Routes, rules and sockets are published one after the other, each by port
/// number; a number identifies one interface on one device and is not reused for another binding. A
/// packet judged by the rules of one binding is therefore never sent by the socket of another: if
/// one of the three does not have the number, the packet is dropped.
#[derive(Debug, Default)]
pub struct Bindings {
    numbers: BTreeMap<(String, u32), PortId>,
    last: PortId,
}

impl Bindings {
    /// The number of an interface on a device, a new one if it has none.
    fn number(&mut self, ios_name: &str, ifindex: u32) -> Option<PortId> {
        let key = (ios_name.to_owned(), ifindex);
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        // A number is reused only after all others have been used.
        let from = self.last;
        let number = (1..=PortId::MAX)
            .map(|step| from.wrapping_add(step))
            .find(|number| !self.numbers.values().any(|taken| taken == number))?;
        self.last = number;
        self.numbers.insert(key, number);
        Some(number)
    }

    /// Removes the bindings that are not in use.
    fn retain(&mut self, bound: &[BoundPort]) {
        self.numbers.retain(|_, number| bound.iter().any(|port| port.id == *number));
    }
}

/// The result of joining the configuration with the devices.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Ports with a device.
    pub bound: Vec<BoundPort>,
    /// The configuration's records with the current interface indices; 0 without device. The record
    /// of a bound port has the number of its binding.
    pub records: Vec<PortRecord>,
    /// For each bound port its number and the number of its record, which is valid within one
    /// publication only.
    pub published: Vec<(PortId, u16)>,
    /// Interfaces without a usable device. An interface that is shut down is not listed.
    pub missing: Vec<Missing>,
}

/// An interface whose device is absent or cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The configured device name; may be empty.
    pub device: String,
    /// The interface.
    pub ios_name: String,
    /// The reason, with the remedy.
    pub reason: String,
    /// Whether a crypto map is applied there.
    pub has_crypto_map: bool,
}

impl Missing {
    /// As a failure that ends the process.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (device, ios_name, reason) = (self.device.clone(), self.ios_name.clone(), self.reason.clone());
        Failure::Interface { device, ios_name, reason }
    }
}

impl Ports {
    /// Joins a published policy with the devices. Ports in `before` keep their index in the socket
    /// map.
    #[must_use]
    pub fn join(
        snapshot: &PolicySnapshot,
        devices: &[Device],
        before: &Ports,
        bindings: &mut Bindings,
    ) -> Self {
        let mut ports = Self::default();
        for record in &snapshot.ports {
            let mut record = record.clone();
            // Look up by name, which is what the operator configured; the index in the record may
            // be outdated.
            let found = devices.iter().find(|device| device.name == record.device);
            record.ifindex = found.map_or(0, |device| device.ifindex);
            if !record.is_shut {
                let device = found.ok_or_else(|| absent(&record));
                match device.and_then(usable).and_then(|found| ports.bind(&record, found, before, bindings)) {
                    Ok(id) => {
                        ports.published.push((id, record.id));
                        record.id = id;
                    }
                    Err(reason) => {
                        let (device, ios_name) = (record.device.clone(), record.ios_name.clone());
                        let has_crypto_map = record.has_crypto_map;
                        ports.missing.push(Missing { device, ios_name, reason, has_crypto_map });
                    }
                }
            }
            ports.records.push(record);
        }
        bindings.retain(&ports.bound);
        ports
    }

    fn bind(
        &mut self,
        record: &PortRecord,
        (device, queues): (&Device, u32),
        before: &Ports,
        bindings: &mut Bindings,
    ) -> Result<PortId, String> {
        let number = bindings.number(&record.ios_name, device.ifindex);
        let id = number.ok_or_else(|| "there is no free port number".to_owned())?;
        let kept = before.bound.iter().find(|port| port.id == id).map(|port| port.place);
        let taken = |place: &u32| self.bound.iter().chain(&before.bound).any(|port| port.place == *place);
        let place = kept.or_else(|| (0..MAX_PORTS).find(|place| !taken(place)));
        let place = place.ok_or_else(|| {
            format!("there are {MAX_PORTS} ports already; shut an interface or remove it, then this one is taken up")
        })?;
        self.bound.push(BoundPort {
            id,
            device: record.device.clone(),
            ios_name: record.ios_name.clone(),
            ifindex: device.ifindex,
            queues,
            place,
            crypto_map: record.has_crypto_map,
        });
        Ok(id)
    }

    /// The records of bound ports: what workers know.
    #[must_use]
    pub fn bound_records(&self) -> Vec<PortRecord> {
        let is_bound = |record: &&PortRecord| {
            self.bound.iter().any(|port| port.id == record.id && port.ifindex == record.ifindex)
        };
        self.records.iter().filter(|record| !record.is_shut).filter(is_bound).cloned().collect()
    }

    /// The devices of interfaces with an access group, and its direction; 0 without device.
    /// `snapshot` is the joined policy.
    #[must_use]
    pub fn filtered(&self, snapshot: &PolicySnapshot) -> Vec<(u32, Direction)> {
        let of_ports = snapshot.filters.of_ports();
        let device = |id: u16| {
            let place = snapshot.ports.iter().position(|record| record.id == id)?;
            self.records.get(place).map(|record| record.ifindex)
        };
        of_ports.map(|(id, direction)| (device(id).unwrap_or(0), direction)).collect()
    }

    /// The first interface with a crypto map whose device is missing or unusable: the process does
    /// not start with one. Interfaces without crypto map wait for their devices.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.missing.iter().find(|missing| missing.has_crypto_map).map(Missing::failure)
    }

    /// The properties that sockets and workers depend on: if they change, new sockets are needed.
    #[must_use]
    pub fn shape(&self) -> Vec<(PortId, u32, u32)> {
        self.bound.iter().map(|port| (port.id, port.ifindex, port.queues)).collect()
    }
}

fn absent(record: &PortRecord) -> String {
    if record.device.is_empty() {
        return "it has no device; type \"device NAME\" there, with one that \"ip link\" lists".to_owned();
    }
    "does not exist; create it or correct the device name".to_owned()
}

fn usable(device: &Device) -> Result<(&Device, u32), String> {
    if device.link_type != LinkType::Ethernet && device.link_type != LinkType::Loopback {
        return Err(
            "it has no Ethernet header, and the packet path needs one; what its crypto map protects is \
                    dropped there. Put the crypto map on an Ethernet device"
                .to_owned(),
        );
    }
    if device.mtu > LARGEST_MTU {
        return Err(format!(
            "its MTU of {} is too large for packet memory; set it to {LARGEST_MTU} or less",
            device.mtu
        ));
    }
    let queues =
        receive_queues(&device.name).map_err(|error| format!("its queues cannot be read ({error})"))?;
    if queues > MAX_QUEUES {
        return Err(format!(
            "it has {queues} queues, at most {MAX_QUEUES} can be used; reduce them with ethtool -L"
        ));
    }
    Ok((device, queues))
}

/// A frame of 4096 bytes less the kernel's 256, our headroom of 256, and what encapsulation adds at
/// both ends.
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
        Device { ifindex: 1, name: "lo".to_owned(), mtu, up: true, ..Device::default() }
    }

    fn snapshot(ports: Vec<PortRecord>) -> PolicySnapshot {
        PolicySnapshot { ports, ..PolicySnapshot::default() }
    }

    fn join(records: Vec<PortRecord>, devices: &[Device], before: &Ports, bindings: &mut Bindings) -> Ports {
        Ports::join(&snapshot(records), devices, before, bindings)
    }

    #[test]
    fn the_device_name_decides_not_the_index() {
        let ports =
            join(vec![record(3, "lo")], &[loopback(1500)], &Ports::default(), &mut Bindings::default());
        assert_eq!((ports.bound[0].ifindex, ports.bound[0].queues, ports.records[0].ifindex), (1, 1, 1));
        assert!(ports.failure().is_none());
    }

    #[test]
    fn an_absent_or_unusable_device_is_named_with_a_remedy() {
        let with_map = PortRecord { has_crypto_map: true, ..record(1, "tohub-none") };
        let both = vec![with_map, record(2, "lo"), record(3, "")];
        let ports = join(both, &[loopback(9000)], &Ports::default(), &mut Bindings::default());
        assert_eq!((ports.bound.len(), ports.missing.len()), (0, 3));
        assert!(ports.missing[1].reason.contains("3400") && ports.missing[2].reason.contains("device NAME"));
        let failure = ports.failure().unwrap();
        assert_eq!(failure.exit_code(), 6);
        assert!(failure.to_string().contains("tohub-none"));
        assert_eq!(ports.records[1].ifindex, 1, "the device is known to the guard all the same");
        assert!(ports.bound_records().is_empty());
        let others = join(vec![record(1, "tohub-none")], &[], &Ports::default(), &mut Bindings::default());
        assert!(others.failure().is_none() && others.missing.len() == 1, "nothing needs it");
    }

    #[test]
    fn a_crypto_map_on_a_device_without_ethernet_header_ends_the_start_with_the_remedy() {
        let tun = Device { link_type: LinkType::RawIp, name: "tun0".to_owned(), ..loopback(1500) };
        let with_map = PortRecord { has_crypto_map: true, ..record(1, "tun0") };
        let ports = join(vec![with_map], &[tun], &Ports::default(), &mut Bindings::default());
        let failure = ports.failure().unwrap();
        assert_eq!((failure.exit_code(), ports.records[0].ifindex), (6, 1), "the guard knows the device");
        assert!(failure.to_string().contains("Put the crypto map on an Ethernet device"), "{failure}");
    }

    #[test]
    fn a_port_keeps_number_and_place_when_another_one_goes_and_no_number_is_used_twice() {
        let mut bindings = Bindings::default();
        let devices = [loopback(1500)];
        let first = join(vec![record(1, "lo"), record(2, "lo")], &devices, &Ports::default(), &mut bindings);
        let second = join(vec![record(2, "lo"), record(7, "lo")], &devices, &first, &mut bindings);
        assert_eq!((first.bound[1].place, first.bound[1].id), (second.bound[0].place, second.bound[0].id));
        assert_ne!(second.bound[0].place, second.bound[1].place);
        assert!(first.bound.iter().all(|port| port.id != second.bound[1].id));
        let anew = [Device { ifindex: 9, ..loopback(1500) }];
        let third = join(vec![record(2, "lo")], &anew, &second, &mut bindings);
        assert!(
            second.bound.iter().all(|port| port.id != third.bound[0].id),
            "another device, another number"
        );
    }

    #[test]
    fn a_shut_interface_is_no_port_and_its_device_is_known() {
        let shut = PortRecord { is_shut: true, ..record(1, "lo") };
        let ports = join(vec![shut], &[loopback(1500)], &Ports::default(), &mut Bindings::default());
        assert!(ports.bound.is_empty() && ports.missing.is_empty());
        assert_eq!(ports.records[0].ifindex, 1);
    }

    #[test]
    fn access_groups_follow_their_interface_and_not_the_number_of_its_record() {
        use sa_table::policy::{FilterBinding, FilterPoint, Filters};
        let binding = |id, direction| FilterBinding { point: FilterPoint::Port(id), direction, list: 0 };
        let snapshot = PolicySnapshot {
            filters: Filters {
                lists: Vec::new(),
                bindings: vec![binding(5, Direction::Inbound), binding(6, Direction::Outbound)],
            },
            ..snapshot(vec![record(4, "tohub-none"), record(5, "lo"), record(6, "tohub-gone")])
        };
        let ports = Ports::join(&snapshot, &[loopback(1500)], &Ports::default(), &mut Bindings::default());
        assert_eq!(ports.published, [(ports.bound[0].id, 5)]);
        assert_eq!(ports.filtered(&snapshot), [(1, Direction::Inbound), (0, Direction::Outbound)]);
    }
}
