//! Set-up before the first policy.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::failure::Failure;
use crate::host::kernel::{Forwarding, KernelView, Mirror, Netlink, NetlinkError, PortDevices};
use crate::host::punt::PuntPort;
use crate::process::instance::Instance;
use crate::process::settings::Settings;

/// The cores of the workers, chosen from those that this process may use.
pub(super) fn worker_cores(settings: &Settings) -> Result<Vec<usize>, Failure> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    settings.worker_cores(&available).map_err(|core| {
        Failure::Usage(format!(
            "--cores: core {core} is not available to this process, which has {available:?}"
        ))
    })
}

/// Creates the punt port, brings it up and makes it the default route of the instance's table;
/// returns it with its ifindex.
pub(super) fn open_punt(
    netlink: &Netlink,
    instance: &Instance,
    forwarding: &Forwarding,
) -> Result<(PuntPort, u32), Failure> {
    let punt = PuntPort::open().map_err(Failure::Punt)?;
    let device = netlink
        .device(punt.name())?
        .ok_or_else(|| Failure::Punt(io::Error::from_raw_os_error(libc::ENODEV)))?;
    // No link-local address, hence no router solicitations into the workers. A kernel without IPv6
    // sends none anyway.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/addr_gen_mode", punt.name()), "1");
    // Packets for this host from a filtered port arrive by this device, from any source: the strict
    // reverse-path check would need a route back by it, the loose one (RFC 3704), which overrides
    // the setting of all devices, needs any route. On a device without address the kernel treats
    // the loose check as strict, hence the dummy address (RFC 7600).
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{}/rp_filter", punt.name()), "2");
    netlink.add_host_address(device.ifindex, Ipv4Addr::new(192, 0, 0, 8))?;
    netlink.bring_up(device.ifindex)?;
    // Packets that the kernel forwards for us, toward devices that are not ports, arrive by this
    // device.
    forwarding.allow(punt.name())?;
    instance.local_traffic().set_default(netlink, Some(device.ifindex))?;
    Ok((punt, device.ifindex))
}

/// Starts the mirror in its own thread, in the same network namespace.
pub(super) fn start_mirror(
    kernel: &Arc<KernelView>,
    ports: &Arc<PortDevices>,
) -> Result<JoinHandle<Result<(), NetlinkError>>, Failure> {
    let (kernel, ports) = (Arc::clone(kernel), Arc::clone(ports));
    let follow = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetlinkError::Open)?;
        runtime.block_on(async { Mirror::open(kernel, ports)?.run().await })
    };
    thread::Builder::new()
        .name("kernel mirror".to_owned())
        .spawn(move || follow().inspect_err(|error| tracing::error!(%error, "the kernel mirror failed")))
        .map_err(Failure::system("start the kernel mirror"))
}
