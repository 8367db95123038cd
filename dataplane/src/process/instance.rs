//! The names that one gateway uses on the machine. All derive from the instance, so that several
//! gateways can run side by side, and `tohub release` finds what a process that died left behind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use thiserror::Error;

use crate::host::kernel::LocalTraffic;

/// The default run directory.
pub const DEFAULT_RUN_DIR: &str = "/run/tohub";

/// One gateway on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    name: String,
    run_dir: PathBuf,
}

/// The run directory cannot be used.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// Another process holds the lock.
    #[error("another data plane runs in {}; stop it first, or give this one its own --run-dir", run_dir.display())]
    Running {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// A file cannot be created or read.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The name is not usable as a file name.
    #[error("instance name {0:?}: use letters, digits, '-' and '_', at most {MAX_NAME}")]
    BadName(String),
}

/// The longest instance name.
const MAX_NAME: usize = 48;
/// Timeout of the lock, and the interval of attempts.
const PATIENCE: Duration = Duration::from_millis(1000);
const RETRY: Duration = Duration::from_millis(10);
/// File in the run directory that names the pin folder.
const PINS_FILE: &str = "pins";

impl Instance {
    /// The instance of a run directory: the given name, else the one stored there, else one derived
    /// from the path.
    ///
    /// # Errors
    /// The name cannot be a file name.
    pub fn of(run_dir: &Path, name: Option<&str>) -> Result<Self, InstanceError> {
        // An empty file is left by a crash or a full file system: no name was written.
        let written = fs::read_to_string(run_dir.join(PINS_FILE)).ok().map(|text| text.trim().to_owned());
        let written = written.filter(|name| !name.is_empty());
        let name = name.map(str::to_owned).or(written).unwrap_or_else(|| derived_name(run_dir));
        let legal = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(legal) {
            return Err(InstanceError::BadName(name));
        }
        Ok(Self { name, run_dir: run_dir.to_owned() })
    }

    /// Name of the pin folder below `/sys/fs/bpf/tohub`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The status socket.
    #[must_use]
    pub fn status_socket(&self) -> PathBuf {
        self.run_dir.join("dataplane.sock")
    }

    /// The policy-routing table and rules.
    #[must_use]
    pub fn local_traffic(&self) -> LocalTraffic {
        let hash = fnv1a(self.name.as_bytes());
        // A table number above those used by distributions and routing daemons; rules before the
        // main table's 32766.
        LocalTraffic {
            table: 0x7068_0000 | (hash & 0xffff),
            priority: 5000 + (hash >> 16) % 100 * crate::host::kernel::PRIORITIES,
        }
    }

    /// Takes the lock of the data plane; it is held as long as the returned file is open. Waits a
    /// moment for a boot guard that is attaching to a new device. Writes the instance's name for
    /// `tohub release`.
    ///
    /// # Errors
    /// Another data plane has the lock, or the directory cannot be written.
    pub fn lock(&self) -> Result<File, InstanceError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.try_lock() {
                Err(InstanceError::Running { .. }) if Instant::now() < end => std::thread::sleep(RETRY),
                result => return result,
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As for [`Self::lock`].
    pub fn try_lock(&self) -> Result<File, InstanceError> {
        let file_error =
            |operation, path: &Path, source| InstanceError::File { operation, path: path.to_owned(), source };
        fs::create_dir_all(&self.run_dir).map_err(|error| file_error("make", &self.run_dir, error))?;
        let path = self.run_dir.join("dataplane.lock");
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| file_error("open", &path, error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(InstanceError::Running { run_dir: self.run_dir.clone() });
            }
            Err(error) => return Err(file_error("lock", &path, error.into())),
        }
        let pins = self.run_dir.join(PINS_FILE);
        fs::write(&pins, &self.name).map_err(|error| file_error("write", &pins, error))?;
        Ok(lock)
    }
}

/// The last part of the path, and a hash of the whole path unless it is the default one.
fn derived_name(run_dir: &Path) -> String {
    if run_dir == Path::new(DEFAULT_RUN_DIR) {
        return "default".to_owned();
    }
    let path = std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_owned());
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String =
        last.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).take(24).collect();
    format!("{stem}-{:08x}", fnv1a(path.as_os_str().as_encoded_bytes()))
}

fn fnv1a(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_last_parts_are_different_instances() {
        let name = |path: &str| derived_name(Path::new(path));
        assert_eq!(name(DEFAULT_RUN_DIR), "default");
        assert_ne!(name("/tmp/a/hub1"), name("/tmp/b/hub1"));
        assert!(name("/tmp/a/hub 1").starts_with("hub_1-"));
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        for bad in ["..", "a/b", "", "a b"] {
            assert!(
                matches!(Instance::of(Path::new("/none"), Some(bad)), Err(InstanceError::BadName(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let run_dir = std::env::temp_dir().join(format!("tohub-lock-{}", std::process::id()));
        let instance = Instance::of(&run_dir, None).unwrap();
        let held = instance.lock().unwrap();
        assert!(matches!(instance.lock(), Err(InstanceError::Running { .. })));
        drop(held);
        drop(instance.lock().unwrap());
        assert_eq!(Instance::of(&run_dir, None).unwrap(), instance, "the written name is found again");
        fs::remove_dir_all(&run_dir).unwrap();
    }

    #[test]
    fn a_name_that_a_full_disk_did_not_take_is_derived_again() {
        let run_dir = std::env::temp_dir().join(format!("tohub-full-{}", std::process::id()));
        fs::create_dir_all(&run_dir).unwrap();
        fs::write(run_dir.join(PINS_FILE), "").unwrap();
        assert_eq!(Instance::of(&run_dir, None).unwrap().name(), derived_name(&run_dir));
        fs::remove_dir_all(&run_dir).unwrap();
    }

    #[test]
    fn rule_priorities_come_before_the_main_table() {
        for name in ["default", "branch-1", "hub2-0000ffff"] {
            let traffic = Instance::of(Path::new("/none"), Some(name)).unwrap().local_traffic();
            assert!(traffic.priority + crate::host::kernel::PRIORITIES < 32766 && traffic.table > 0xffff);
        }
    }
}
