//! The kernel's forwarding sysctls. A port forwards only while both guard programs are attached; a
//! new device does not forward until then.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::netlink::NetlinkError;
use super::sysctl;

/// Switches forwarding of ports; saves the former values in the run directory.
pub struct Forwarding {
    saved: PathBuf,
}

impl Forwarding {
    /// Uses `run_dir` for the saved values.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self { saved: run_dir.join("forwarding") }
    }

    /// Devices that appear from now on do not forward until [`Forwarding::allow`].
    ///
    /// # Errors
    /// The sysctl cannot be written.
    pub fn close_new_devices(&self) -> Result<(), NetlinkError> {
        self.set("default", false)
    }

    /// Closes a port whose programs are not attached yet.
    ///
    /// # Errors
    /// The sysctl cannot be written.
    pub fn hold(&self, device: &str) -> Result<(), NetlinkError> {
        self.set(device, false)
    }

    /// Opens a port whose programs are attached.
    ///
    /// # Errors
    /// The sysctl cannot be written.
    pub fn allow(&self, device: &str) -> Result<(), NetlinkError> {
        self.set(device, true)
    }

    /// Restores the saved values, where the device still exists.
    ///
    /// # Errors
    /// The file in the run directory cannot be read or removed.
    pub fn restore(&self) -> Result<(), NetlinkError> {
        for (path, value) in self.load()? {
            // A device that no longer exists has no sysctl.
            let _ = fs::write(&path, value);
        }
        match fs::remove_file(&self.saved) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.file_error("remove", error)),
            _ => Ok(()),
        }
    }

    fn set(&self, device: &str, forward: bool) -> Result<(), NetlinkError> {
        let wanted = if forward { "1" } else { "0" };
        for family in ["ipv4", "ipv6"] {
            let path = format!("/proc/sys/net/{family}/conf/{device}/forwarding");
            let before = match sysctl::read(&path) {
                // The kernel has no IPv6, or IPv6 is disabled on the device.
                Err(error) if error.is_missing() && family == "ipv6" => continue,
                result => result?,
            };
            if before == wanted {
                continue;
            }
            self.save(&path, &before)?;
            sysctl::write(&path, wanted)?;
        }
        Ok(())
    }

    /// Only the first value is saved: later ones are our own.
    fn save(&self, path: &str, value: &str) -> Result<(), NetlinkError> {
        if self.load()?.contains_key(path) {
            return Ok(());
        }
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.saved)
            .and_then(|mut file| writeln!(file, "{path} {value}"))
            .map_err(|error| self.file_error("write", error))
    }

    fn load(&self) -> Result<BTreeMap<String, String>, NetlinkError> {
        let text = match fs::read_to_string(&self.saved) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result.map_err(|error| self.file_error("read", error))?,
        };
        let known = |path: &str| path.starts_with("/proc/sys/net/") && !path.contains("..");
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(path, _)| known(path))
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .collect())
    }

    fn file_error(&self, operation: &'static str, source: io::Error) -> NetlinkError {
        NetlinkError::Sysctl { operation, path: self.saved.display().to_string(), source }
    }
}
