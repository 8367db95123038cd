//! Sysctls below `/proc/sys`.

use std::fs;

use super::netlink::NetlinkError;

/// Reads a sysctl, without the line end.
///
/// # Errors
/// It cannot be read; a sysctl that does not exist is an error of kind `NotFound`.
pub(super) fn read(path: &str) -> Result<String, NetlinkError> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| NetlinkError::Sysctl {
        operation: "read",
        path: path.to_owned(),
        source,
    })
}

/// Writes a sysctl.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &str, value: &str) -> Result<(), NetlinkError> {
    fs::write(path, value).map_err(|source| NetlinkError::Sysctl {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}
