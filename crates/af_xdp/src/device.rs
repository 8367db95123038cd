//! Two device operations that need an ioctl: reading the number of queues of a driver, and creating
//! a TUN device (the data plane's punt port). They are in this crate because it contains the data
//! plane's `unsafe` system calls.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// `struct ifreq` with the members that are used here (include/uapi/linux/if.h): a name and 24
/// octets of union.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: RequestData,
}

#[repr(C)]
union RequestData {
    flags: libc::c_short,
    pointer: *mut libc::c_void,
    whole: [u8; 24],
}

/// `struct ethtool_channels`, include/uapi/linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// Makes a TUN device without packet information, non-blocking. A `%d` in the name becomes the
/// first free number. The device lives as long as the file. Returns the file and the name that the
/// kernel chose.
///
/// # Errors
/// No TUN driver, no capability, or the name is taken.
pub fn open_tun(name: &str) -> io::Result<(File, String)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let mut request = request(name, RequestData { whole: [0; 24] })?;
    request.data.flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open for the duration of the call; TUNSETIFF reads and writes one
    // ifreq, which `request` is in size and layout (repr(C), 40 bytes), and keeps no pointer to it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = request.name.iter().position(|octet| *octet == 0).unwrap_or(request.name.len());
    let chosen = request.name.get(..length).unwrap_or_default();
    Ok((file, String::from_utf8_lossy(chosen).into_owned()))
}

/// How many receive queues a device has (`ethtool -l`). A driver that does not report it has one.
///
/// # Errors
/// The device does not exist.
pub fn receive_queues(device: &str) -> io::Result<u32> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    let mut request = request(device, RequestData { pointer: (&raw mut channels).cast() })?;
    // SAFETY: the descriptor is open; SIOCETHTOOL reads one ifreq and writes one ethtool_channels
    // behind its pointer, which points to a live local of that layout; neither pointer is kept.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Ok(1),
            _ => Err(error),
        };
    }
    Ok(channels.combined.max(channels.rx + channels.combined).max(1))
}

fn request(name: &str, data: RequestData) -> io::Result<InterfaceRequest> {
    let mut request = InterfaceRequest { name: [0; libc::IFNAMSIZ], data };
    // The last octet stays zero.
    match request.name.get_mut(..name.len()) {
        Some(place) if name.len() < libc::IFNAMSIZ => place.copy_from_slice(name.as_bytes()),
        _ => return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
    }
    Ok(request)
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_exist_has_no_queues() {
        assert_eq!(receive_queues("tohub-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(
            receive_queues("a-name-that-is-too-long").unwrap_err().raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
    }

    #[test]
    fn a_device_that_does_not_say_has_one_queue() {
        assert_eq!(receive_queues("lo").unwrap(), 1);
    }
}
