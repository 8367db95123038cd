//! The guard on the devices of the namespace: the devices that have it, and those that still need
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::host::kernel::{Device, LinkType, ReversePath};
use crate::process::instance::Instance;
use crate::xdp::{Programs, XdpError};

/// Attaches both programs to every device but loopback and the punt port.
pub(crate) struct Guard {
    programs: Programs,
    punt: Option<String>,
    reverse_path: ReversePath,
    /// Devices that carry the guard: name by interface index.
    devices: BTreeMap<u32, String>,
    /// Devices that could not be guarded, with the reason that was logged.
    refused: BTreeMap<u32, String>,
    /// Devices seen by the last check; `None` before the first one.
    known: Option<BTreeSet<u32>>,
}

/// The guard, shared with the thread that extends it to new devices independently of the main
/// thread.
pub(crate) type SharedGuard = Arc<Mutex<Guard>>;

/// Locks it. A poisoned lock is usable: the state of devices is read again each time, so a panic
/// leaves nothing half done.
pub(crate) fn locked(guard: &SharedGuard) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    /// Loads the programs of an instance, or takes over those that are already loaded. `punt` is
    /// the instance's own TUN device.
    ///
    /// # Errors
    /// See [`Programs::load`].
    pub(crate) fn load(instance: &Instance, punt: Option<&str>) -> Result<Self, XdpError> {
        Ok(Self {
            programs: Programs::load(instance.name())?,
            punt: punt.map(str::to_owned),
            reverse_path: ReversePath::new(instance.run_dir()),
            devices: BTreeMap::new(),
            refused: BTreeMap::new(),
            known: None,
        })
    }

    /// The programs and their maps.
    pub(crate) fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// Attaches the guard to each device that has none yet, and then restores the device's own
    /// reverse-path setting. Does nothing while no policy is loaded: attached programs then use
    /// other maps, which have one.
    pub(crate) fn extend(&mut self, devices: &[Device]) {
        if !self.programs.has_policy() {
            return;
        }
        self.devices.retain(|ifindex, _| devices.iter().any(|device| device.ifindex == *ifindex));
        let before = self.known.replace(devices.iter().map(|device| device.ifindex).collect());
        let punt = self.punt.clone();
        for device in devices.iter().filter(|device| concerns(device, punt.as_deref())) {
            if let Err(error) = self.stand_on(device) {
                self.refuse(device, &error.to_string());
                continue;
            }
            self.refused.remove(&device.ifindex);
            if self.devices.insert(device.ifindex, device.name.clone()).as_ref() == Some(&device.name) {
                continue;
            }
            let is_new = before.as_ref().is_some_and(|before| !before.contains(&device.ifindex));
            if let Err(error) = self.reverse_path.open(&device.name, device.ifindex, is_new) {
                tracing::warn!(device = device.name, %error, "the device keeps a strict reverse-path check");
            }
        }
    }

    /// Finds devices that lost a program of the guard, so that [`Self::extend`] attaches it again.
    pub(crate) fn verify(&mut self) {
        let programs = &mut self.programs;
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

    /// Devices that carry both programs.
    pub(crate) fn count(&self) -> usize {
        self.devices.len()
    }

    /// Why a device is not guarded.
    pub(crate) fn reason(&self, ifindex: u32) -> Option<&str> {
        self.refused.get(&ifindex).map(String::as_str)
    }

    /// The entry of a device without Ethernet header is written each time: a policy compiled
    /// without the device removes it.
    fn stand_on(&mut self, device: &Device) -> Result<(), XdpError> {
        if device.is_raw_ip() {
            self.programs.add_raw_device(device.ifindex)?;
        }
        if self.devices.get(&device.ifindex) == Some(&device.name) {
            return Ok(());
        }
        self.programs.guard(device.ifindex, &device.name)
    }

    fn refuse(&mut self, device: &Device, reason: &str) {
        if self.refused.get(&device.ifindex).map(String::as_str) != Some(reason) {
            tracing::error!(device = device.name, error = reason, "the device cannot be guarded");
            self.refused.insert(device.ifindex, reason.to_owned());
        }
    }
}

/// Whether a device gets the guard: all but loopback and the punt port.
pub(crate) fn concerns(device: &Device, punt: Option<&str>) -> bool {
    device.link_type != LinkType::Loopback && Some(device.name.as_str()) != punt
}
