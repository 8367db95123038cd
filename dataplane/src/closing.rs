//! Closing the machine: the guard on every device of the namespace, and what else has to stand before any packet may pass.
//!
//! The boot guard uses it before anything else runs, the data plane for each new policy and each new device.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sa_table::policy::{PortRecord, Rule};

use crate::failure::Failure;
use crate::instance::Instance;
use crate::kernel::{Device, Forwarding, LinkType, Netlink};
use crate::xdp::{KernelPolicy, Programs, XdpError};

/// The devices that carry the guard.
#[derive(Debug, Default)]
pub(crate) struct GuardedDevices {
    /// Name by interface index.
    devices: BTreeMap<u32, String>,
    /// Devices that could not be guarded, with the reason that was logged.
    refused: BTreeMap<u32, String>,
}

impl GuardedDevices {
    /// Attaches the guard to each device that has none yet: all but loopback and `punt`, the instance's own TUN device.
    pub(crate) fn extend(&mut self, programs: &mut Programs, devices: &[Device], punt: Option<&str>) {
        self.devices.retain(|ifindex, _| devices.iter().any(|device| device.ifindex == *ifindex));
        for device in devices.iter().filter(|device| concerns(device, punt)) {
            if self.devices.get(&device.ifindex) == Some(&device.name) {
                continue;
            }
            match attach(programs, device) {
                Ok(()) => {
                    self.refused.remove(&device.ifindex);
                    self.devices.insert(device.ifindex, device.name.clone());
                }
                Err(error) => self.refuse(device, &error),
            }
        }
    }

    /// Finds devices that lost a program of the guard, whoever removed it, so that [`Self::extend`] attaches it again.
    pub(crate) fn verify(&mut self, programs: &mut Programs) {
        self.devices.retain(|ifindex, name| {
            let stands = programs.is_guarded(*ifindex, name);
            if !stands {
                tracing::warn!(
                    device = name,
                    "the guard was taken off the device, or the device was renamed; attaching it again"
                );
            }
            stands
        });
    }

    /// Whether a device carries both programs.
    pub(crate) fn contains(&self, ifindex: u32) -> bool {
        self.devices.contains_key(&ifindex)
    }

    /// Why a device does not.
    pub(crate) fn reason(&self, ifindex: u32) -> Option<&str> {
        self.refused.get(&ifindex).map(String::as_str)
    }

    fn refuse(&mut self, device: &Device, error: &XdpError) {
        let reason = error.to_string();
        if self.refused.get(&device.ifindex) != Some(&reason) {
            tracing::error!(device = device.name, %error, "the device cannot be guarded");
            self.refused.insert(device.ifindex, reason);
        }
    }
}

fn concerns(device: &Device, punt: Option<&str>) -> bool {
    device.link_type != LinkType::Loopback && Some(device.name.as_str()) != punt
}

fn attach(programs: &mut Programs, device: &Device) -> Result<(), XdpError> {
    if device.is_raw_ip() {
        programs.add_raw_device(device.ifindex)?;
    }
    programs.guard(device.ifindex, &device.name)
}

/// What becomes of what a former guard or gateway loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// The new rules are all that counts.
    Replaced,
    /// It stays closed beside the new rules, as nobody said that it may open.
    Kept,
}

/// What the boot guard did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Devices that carry the guard.
    pub guarded: usize,
    /// Interfaces with a crypto map that have no device: their maps are closed on every device.
    pub without_device: Vec<String>,
    /// What is closed by coarser means than the rules.
    pub notes: Vec<String>,
}

/// Closes the calling thread's network namespace for what `lists` protect, without anything else running.
///
/// # Errors
/// A data plane runs, the kernel lacks something, or a device of `ports` cannot be guarded.
pub fn close(
    run_dir: &Path,
    name: Option<&str>,
    ports: &[PortRecord],
    lists: &[Vec<Rule>],
    former: Former,
) -> Result<Closing, Failure> {
    let instance = Instance::of(run_dir, name)?;
    let _lock = instance.lock()?;
    let netlink = Netlink::open()?;
    let devices = netlink.devices()?;
    let forwarding = Forwarding::new(instance.run_dir());
    forwarding.close_new_devices()?;
    let ports: Vec<PortRecord> = ports.iter().map(|port| joined(port, &devices)).collect();
    let mut programs = Programs::load(instance.name())?;
    let mut policy = KernelPolicy::compile(&ports, lists, &devices, |_| None);
    if former == Former::Kept {
        policy.retain(&programs.standing()?);
    }
    programs.prepare(&policy)?;
    let mut guarded = GuardedDevices::default();
    guarded.extend(&mut programs, &devices, None);
    for port in ports.iter().filter(|port| port.ifindex != 0) {
        forwarding.hold(&port.device)?;
        if let Some(reason) = guarded.reason(port.ifindex) {
            let (device, ios_name) = (port.device.clone(), port.ios_name.clone());
            return Err(Failure::Interface { device, ios_name, reason: reason.to_owned() });
        }
    }
    instance.local_traffic().set_default(&netlink, None)?;
    instance.local_traffic().fence(&netlink, None, policy.fence(), former)?;
    let without_device = ports.iter().filter(|port| port.has_crypto_map && port.ifindex == 0);
    Ok(Closing {
        guarded: guarded.devices.len(),
        without_device: without_device.map(|port| port.ios_name.clone()).collect(),
        notes: policy.notes().to_vec(),
    })
}

/// Stops forwarding on every device, for a configuration of which nothing is known. What a former guard loaded stays in force.
///
/// # Errors
/// A data plane runs, or a switch cannot be written.
pub fn stop_forwarding(run_dir: &Path, name: Option<&str>) -> Result<(), Failure> {
    let instance = Instance::of(run_dir, name)?;
    let _lock = instance.lock()?;
    let forwarding = Forwarding::new(instance.run_dir());
    forwarding.close_new_devices()?;
    for device in Netlink::open()?.devices()?.iter().filter(|device| concerns(device, None)) {
        forwarding.hold(&device.name)?;
    }
    Ok(())
}

fn joined(port: &PortRecord, devices: &[Device]) -> PortRecord {
    let found = devices.iter().find(|device| device.name == port.device);
    PortRecord { ifindex: found.map_or(0, |device| device.ifindex), ..port.clone() }
}

/// The devices of the interfaces of a policy that the guard covers, by interface index.
pub(crate) fn covered(records: &[PortRecord], guarded: &GuardedDevices) -> BTreeSet<u32> {
    records.iter().map(|record| record.ifindex).filter(|ifindex| guarded.contains(*ifindex)).collect()
}
