//! The configured ports joined with the machine's devices.

use std::collections::BTreeMap;

use ebpf_abi::{MAX_PORTS, MAX_QUEUES};
use sa_table::{PolicySnapshot, PortRecord};

use crate::failure::Failure;
use crate::kernel::{Device, PortId};
use af_xdp::device::receive_queues;

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

/// What a look at configuration and machine gave.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Ports with a device.
    pub bound: Vec<BoundPort>,
    /// The configuration's records with today's interface indices; 0 without device.
    pub records: Vec<PortRecord>,
    /// Ports without a device, or with one that cannot be used: device, IOS name, reason.
    pub missing: Vec<(String, String, String)>,
}

impl Ports {
    /// Joins a published policy with the devices. `before` keeps the places of ports in the socket map.
    ///
    /// # Errors
    /// More ports than the kernel maps hold.
    pub fn join(snapshot: &PolicySnapshot, devices: &[Device], before: &Ports) -> Result<Self, Failure> {
        let mut places: BTreeMap<PortId, u32> =
            before.bound.iter().map(|port| (port.id, port.place)).collect();
        let mut ports = Self::default();
        for record in &snapshot.ports {
            let mut record = record.clone();
            // The index in the record was true when it was written; the name is what the operator configured.
            let found = devices.iter().find(|device| device.name == record.device);
            record.ifindex = 0;
            match found
                .ok_or_else(|| "does not exist; create it or correct the device name".to_owned())
                .and_then(usable)
            {
                Ok((device, queues)) => {
                    record.ifindex = device.ifindex;
                    let place = place(&mut places, record.id)?;
                    ports.bound.push(BoundPort {
                        id: record.id,
                        device: record.device.clone(),
                        ios_name: record.ios_name.clone(),
                        ifindex: device.ifindex,
                        queues,
                        place,
                        crypto_map: record.has_crypto_map,
                    });
                }
                Err(reason) => ports.missing.push((record.device.clone(), record.ios_name.clone(), reason)),
            }
            ports.records.push(record);
        }
        Ok(ports)
    }

    /// The first port that cannot be used, as the end of the process.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let (device, ios_name, reason) = self.missing.first()?.clone();
        Some(Failure::Interface { device, ios_name, reason })
    }

    /// What sockets and workers depend on: a change of it needs new sockets.
    #[must_use]
    pub fn shape(&self) -> Vec<(PortId, u32, u32)> {
        self.bound.iter().map(|port| (port.id, port.ifindex, port.queues)).collect()
    }
}

fn usable(device: &Device) -> Result<(&Device, u32), String> {
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

fn place(places: &mut BTreeMap<PortId, u32>, id: PortId) -> Result<u32, Failure> {
    if let Some(place) = places.get(&id) {
        return Ok(*place);
    }
    let free = (0..MAX_PORTS).find(|place| !places.values().any(|taken| taken == place));
    let place = free.ok_or(crate::xdp::XdpError::TooMany {
        what: "ports",
        count: places.len() + 1,
        limit: MAX_PORTS as usize,
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

    #[test]
    fn the_device_name_decides_not_the_index() {
        let ports =
            Ports::join(&snapshot(vec![record(3, "lo")]), &[loopback(1500)], &Ports::default()).unwrap();
        assert_eq!((ports.bound[0].ifindex, ports.bound[0].queues, ports.records[0].ifindex), (1, 1, 1));
        assert!(ports.failure().is_none());
    }

    #[test]
    fn an_absent_or_unusable_device_is_named_with_a_remedy() {
        let both = snapshot(vec![record(1, "tohub-none"), record(2, "lo")]);
        let ports = Ports::join(&both, &[loopback(9000)], &Ports::default()).unwrap();
        assert_eq!((ports.bound.len(), ports.missing.len()), (0, 2));
        assert!(ports.missing[1].2.contains("3400"));
        let failure = ports.failure().unwrap();
        assert_eq!(failure.exit_code(), 6);
        assert!(failure.to_string().contains("tohub-none"));
    }

    #[test]
    fn a_port_keeps_its_place_when_another_one_goes() {
        let devices = [loopback(1500)];
        let first =
            Ports::join(&snapshot(vec![record(1, "lo"), record(2, "lo")]), &devices, &Ports::default())
                .unwrap();
        let second =
            Ports::join(&snapshot(vec![record(2, "lo"), record(7, "lo")]), &devices, &first).unwrap();
        assert_eq!(first.bound[1].place, second.bound[0].place);
        assert_ne!(second.bound[0].place, second.bound[1].place);
    }
}
