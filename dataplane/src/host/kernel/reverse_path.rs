//! A strict reverse-path check drops packets that arrive in clear at a device without guard but
//! should have arrived protected.
//!
//! By the policy-routing rules the reverse route of such a packet leads to the punt port or is
//! unreachable, never to the device where it arrived. A strict check (`rp_filter` 1, RFC 3704 §2.2)
//! on new devices therefore closes them from their first packet on; once the guard is attached to
//! the device, its former setting is restored. IPv4 only, as the kernel has no such check for IPv6,
//! and without effect where `net.ipv4.conf.all.rp_filter` is 2 (loose).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::netlink::NetlinkError;
use super::sysctl::{read, write};

const DEFAULT: &str = "/proc/sys/net/ipv4/conf/default/rp_filter";
const STRICT: &str = "1";

/// The `rp_filter` setting of new devices; the former value is saved in the run directory.
#[derive(Clone, Debug)]
pub struct ReversePath {
    saved: PathBuf,
}

/// The former setting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Before {
    value: String,
    /// The highest interface index at that time; devices with a higher one have our setting.
    newest: u32,
}

impl ReversePath {
    /// Uses `run_dir` for the saved values.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self { saved: run_dir.join("reverse-path") }
    }

    /// Makes the check strict for new devices until [`Self::open`]. `newest` is the highest
    /// interface index in use.
    ///
    /// # Errors
    /// The sysctl or the file in the run directory cannot be written.
    pub fn close_new_devices(&self, newest: u32) -> Result<(), NetlinkError> {
        let value = read(DEFAULT)?;
        if value == STRICT {
            return Ok(());
        }
        // An existing file has the value before our first change.
        if self.before()?.is_none() {
            fs::write(&self.saved, format!("{value} {newest}\n"))
                .map_err(|error| self.error("write", error))?;
        }
        write(DEFAULT, STRICT)
    }

    /// The guard is attached to a device: if the device has our setting, its former one is
    /// restored. `is_new`: the device appeared while this process was running.
    ///
    /// # Errors
    /// The sysctl cannot be written. A device that no longer exists is not an error.
    pub fn open(&self, device: &str, ifindex: u32, is_new: bool) -> Result<(), NetlinkError> {
        let Some(before) = self.before()?.filter(|before| is_new || ifindex > before.newest) else {
            return Ok(());
        };
        let path = format!("/proc/sys/net/ipv4/conf/{device}/rp_filter");
        match read(&path) {
            Ok(value) if value == STRICT => write(&path, &before.value),
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Restores the former setting.
    ///
    /// # Errors
    /// The file or the sysctl cannot be used.
    pub fn restore(&self) -> Result<(), NetlinkError> {
        let Some(before) = self.before()? else { return Ok(()) };
        write(DEFAULT, &before.value)?;
        fs::remove_file(&self.saved).map_err(|error| self.error("remove", error))
    }

    fn before(&self) -> Result<Option<Before>, NetlinkError> {
        match fs::read_to_string(&self.saved) {
            Ok(text) => Ok(Before::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read", error)),
        }
    }

    fn error(&self, operation: &'static str, source: io::Error) -> NetlinkError {
        NetlinkError::Sysctl { operation, path: self.saved.display().to_string(), source }
    }
}

impl Before {
    fn parse(text: &str) -> Option<Self> {
        let (value, newest) = text.trim().split_once(' ')?;
        let known = ["0", "1", "2"].contains(&value);
        known.then_some(())?;
        Some(Self { value: value.to_owned(), newest: newest.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_setting_is_not_restored() {
        assert_eq!(Before::parse("2 17\n"), Some(Before { value: "2".to_owned(), newest: 17 }));
        for text in ["", "2", "7 3", "0 many", "1"] {
            assert_eq!(Before::parse(text), None, "{text:?}");
        }
    }
}
