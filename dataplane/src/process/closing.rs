//! Closing the machine: attaches the guard to every device of the namespace and sets up everything
//! else that must be in place before a packet may pass.
//!
//! The boot guard uses it before anything else runs, the data plane for each new policy and each
//! new device.

use std::collections::BTreeSet;
use std::path::Path;

use sa_table::Direction;
use sa_table::policy::{PortRecord, Rule};

use crate::failure::Failure;
use crate::host::kernel::{Device, Forwarding, Netlink, ReversePath};
use crate::process::guarded::{Guard, concerns};
use crate::process::instance::Instance;
use crate::xdp::KernelPolicy;

/// Treatment of the rules that a former guard or data plane loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// Replaced by the new rules.
    Replaced,
    /// Kept in force beside the new rules: no configuration permits to open them.
    Kept,
}

/// The result of the boot guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Devices that carry the guard.
    pub guarded: usize,
    /// Interfaces with a crypto map that have no device: their maps are closed on every device.
    pub without_device: Vec<String>,
    /// What is closed more coarsely than by the rules.
    pub notes: Vec<String>,
}

/// Closes the calling thread's network namespace for what `lists` protect, without anything else
/// running. `filtered`: the numbers of ports with an access group, and its direction; an ingress
/// program left attached by a former run drops packets that an access list would have to filter.
///
/// # Errors
/// A data plane runs, the kernel lacks something, or a device of `ports` cannot be guarded.
pub fn close(
    run_dir: &Path,
    name: Option<&str>,
    ports: &[PortRecord],
    lists: &[Vec<Rule>],
    filtered: &[(u16, Direction)],
    former: Former,
) -> Result<Closing, Failure> {
    let instance = Instance::of(run_dir, name)?;
    let _lock = instance.lock()?;
    let netlink = Netlink::open()?;
    let devices = netlink.devices()?;
    let forwarding = Forwarding::new(instance.run_dir());
    close_new_devices(&instance, &forwarding, &devices)?;
    let ports: Vec<PortRecord> = ports.iter().map(|port| joined(port, &devices)).collect();
    let mut guard = Guard::load(&instance, None)?;
    let device = |id: u16| ports.iter().find(|port| port.id == id).map_or(0, |port| port.ifindex);
    let filtered: Vec<_> = filtered.iter().map(|(port, direction)| (device(*port), *direction)).collect();
    let mut policy = KernelPolicy::compile(&ports, lists, &devices, |_| None).with_filters(&filtered, &ports);
    if former == Former::Kept {
        policy.retain(&guard.programs().standing()?);
    }
    guard.programs().prepare(&policy)?;
    guard.extend(&devices);
    for port in ports.iter().filter(|port| port.ifindex != 0) {
        forwarding.hold(&port.device)?;
        if let Some(reason) = guard.reason(port.ifindex) {
            let (device, ios_name) = (port.device.clone(), port.ios_name.clone());
            return Err(Failure::Interface { device, ios_name, reason: reason.to_owned() });
        }
    }
    instance.local_traffic().set_default(&netlink, None)?;
    instance.local_traffic().fence(&netlink, None, policy.fence(), former)?;
    let without_device = ports.iter().filter(|port| port.has_crypto_map && port.ifindex == 0);
    Ok(Closing {
        guarded: guard.count(),
        without_device: without_device.map(|port| port.ios_name.clone()).collect(),
        notes: policy.notes().to_vec(),
    })
}

/// Stops forwarding on every device, for a configuration that cannot be read. What a former guard
/// loaded stays in force.
///
/// # Errors
/// A data plane runs, or a switch cannot be written.
pub fn stop_forwarding(run_dir: &Path, name: Option<&str>) -> Result<(), Failure> {
    let instance = Instance::of(run_dir, name)?;
    let _lock = instance.lock()?;
    let forwarding = Forwarding::new(instance.run_dir());
    let devices = Netlink::open()?.devices()?;
    close_new_devices(&instance, &forwarding, &devices)?;
    for device in devices.iter().filter(|device| concerns(device, None)) {
        forwarding.hold(&device.name)?;
    }
    Ok(())
}

/// Makes new devices neither forward nor accept packets that should arrive protected, until the
/// guard is attached.
pub(crate) fn close_new_devices(
    instance: &Instance,
    forwarding: &Forwarding,
    devices: &[Device],
) -> Result<(), Failure> {
    forwarding.close_new_devices()?;
    let newest = devices.iter().map(|device| device.ifindex).max().unwrap_or(0);
    Ok(ReversePath::new(instance.run_dir()).close_new_devices(newest)?)
}

fn joined(port: &PortRecord, devices: &[Device]) -> PortRecord {
    let found = devices.iter().find(|device| device.name == port.device);
    PortRecord { ifindex: found.map_or(0, |device| device.ifindex), ..port.clone() }
}

/// The devices of the interfaces of a policy that the guard covers, by interface index.
pub(crate) fn covered(records: &[PortRecord], guard: &Guard) -> BTreeSet<u32> {
    records.iter().map(|record| record.ifindex).filter(|ifindex| guard.contains(*ifindex)).collect()
}
