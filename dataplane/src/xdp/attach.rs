//! Attaching both programs to a device by pinned links, or taking over the links that an earlier
//! process pinned.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::TcError;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};

use super::error::{XdpError, chain, errno};
use super::pins::PinFolder;

/// The mode in which the ingress program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// Generic, after the socket buffer was built: works with every device, and is slower.
    Skb,
}

impl AttachedMode {
    /// As `show tohub dataplane` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

/// The XDP program that the kernel reports for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Where it runs.
    pub mode: AttachedMode,
    /// The kernel's program id.
    pub program: u32,
}

/// Asks the kernel by netlink which program runs on a device. A pinned link does not identify its
/// device.
pub trait DeviceQuery {
    /// The program of the device with that ifindex; `None` when there is none.
    ///
    /// # Errors
    /// The device does not exist, or netlink failed.
    fn xdp_program(&self, ifindex: u32) -> io::Result<Option<DeviceState>>;
}

/// How the programs were attached to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where the ingress program runs.
    pub mode: AttachedMode,
    /// Why it does not run natively: the kernel's error.
    pub skb_reason: Option<String>,
    /// The ingress link was pinned by an earlier process and got the new program by update.
    pub updated: bool,
}

/// Prefix of the pins of ingress links, before the ifindex.
pub(super) const XDP_LINK: &str = "xdp";

/// The hook of a guard program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Packets that the kernel transmits.
    Departure,
    /// Packets that the kernel receives.
    Arrival,
}

impl Hook {
    pub(super) const BOTH: [Self; 2] = [Self::Departure, Self::Arrival];

    /// Prefix of the pins, before the ifindex.
    pub(super) fn pin(self) -> &'static str {
        match self {
            Self::Departure => "departure",
            Self::Arrival => "arrival",
        }
    }

    fn attach_type(self) -> TcAttachType {
        match self {
            Self::Departure => TcAttachType::Egress,
            Self::Arrival => TcAttachType::Ingress,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Departure => "departure guard",
            Self::Arrival => "arrival guard",
        }
    }
}

/// A device by number and name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) ifindex: u32,
    pub(super) name: &'a str,
}

/// Attaches the ingress program, or updates the pinned link.
pub(super) fn ingress(
    program: &mut Xdp,
    device: Device<'_>,
    folder: &PinFolder,
    query: &dyn DeviceQuery,
) -> Result<Attached, XdpError> {
    let path = folder.link(XDP_LINK, device.ifindex);
    if let Some(link) = open_link(&path)?
        && update_ingress(program, link, &path)?
    {
        if let Some(mode) = ingress_mode(program, device, query)? {
            return Ok(Attached { mode, skb_reason: None, updated: true });
        }
        // The pin belongs to a device of the same number in another namespace. The link stays.
        folder.set_aside(&path)?;
    }
    let reason = match attach_ingress(program, device) {
        Ok((link, reason)) => {
            pin(link, &path)?;
            reason
        }
        // A device that returns from another namespace has another number but keeps its program.
        Err(XdpError::DeviceTaken { .. }) if adopt_ingress(program, device, folder, query)? => None,
        Err(error) => return Err(error),
    };
    match ingress_mode(program, device, query)? {
        Some(mode) => Ok(Attached { mode, skb_reason: reason, updated: false }),
        None => Err(XdpError::Device {
            device: device.name.to_owned(),
            reason: "the ingress program was replaced meanwhile".to_owned(),
        }),
    }
}

/// The mode of the program on the device; `None` if another program or none is attached.
fn ingress_mode(
    program: &Xdp,
    device: Device<'_>,
    query: &dyn DeviceQuery,
) -> Result<Option<AttachedMode>, XdpError> {
    // A pin does not identify its device, so the device is queried.
    let expected = program.info().map_err(|error| XdpError::from_program("program info", &error))?.id();
    let state = query.xdp_program(device.ifindex).map_err(|error| missing(device, &error))?;
    Ok(state.filter(|state| state.program == expected).map(|state| state.mode))
}

/// Finds the pinned link of ours that acts on the device, and pins it under the device's current
/// number.
fn adopt_ingress(
    program: &mut Xdp,
    device: Device<'_>,
    folder: &PinFolder,
    query: &dyn DeviceQuery,
) -> Result<bool, XdpError> {
    for path in folder.pins_of(XDP_LINK).into_iter().chain(folder.aside()) {
        let Ok(Some(link)) = open_link(&path) else { continue };
        // Pins of the guard that were set aside are in the same folder, and are not links of an XDP
        // program.
        if update_ingress(program, link, &path).unwrap_or(false)
            && ingress_mode(program, device, query)?.is_some()
        {
            folder.rename(&path, &folder.link(XDP_LINK, device.ifindex))?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Attaches one program of the guard in front of other tcx programs of the device, or updates the
/// pinned link.
pub(super) fn guard(
    program: &mut SchedClassifier,
    hook: Hook,
    device: Device<'_>,
    folder: &PinFolder,
) -> Result<(), XdpError> {
    let path = folder.link(hook.pin(), device.ifindex);
    let updated = match open_link(&path)? {
        Some(link) => update_guard(program, link, &path)?,
        None => false,
    };
    if updated && acts(program, hook, device)? {
        return Ok(());
    }
    if updated {
        // The pin belongs to a device of the same number in another namespace. The link stays and
        // keeps guarding that one.
        folder.set_aside(&path)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(device.name, hook.attach_type(), options)
        .map_err(|error| attach_error(device, hook.what(), &error))?;
    let link = program.take_link(id).map_err(|error| XdpError::from_program("take link", &error))?;
    pin(link.try_into().map_err(|_| XdpError::Object("link of the guard"))?, &path)?;
    if acts(program, hook, device)? {
        return Ok(());
    }
    Err(XdpError::Device { device: device.name.to_owned(), reason: "it was renamed meanwhile".to_owned() })
}

/// Whether the program runs on the device of that name, which must still be the one of that number.
pub(super) fn acts(program: &SchedClassifier, hook: Hook, device: Device<'_>) -> Result<bool, XdpError> {
    let expected = program.info().map_err(|error| XdpError::from_program("program info", &error))?.id();
    let (_, running) = SchedClassifier::query_tcx(device.name, hook.attach_type())
        .map_err(|error| attach_error(device, hook.what(), &error))?;
    Ok(ifindex_of(device.name) == Some(device.ifindex) && running.iter().any(|info| info.id() == expected))
}

/// The device of that name in the namespace of the calling thread.
fn ifindex_of(name: &str) -> Option<u32> {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}

/// Native first. The reasons why a driver refuses are many (no support, MTU, queues, offloads), so
/// any refusal but "taken" leads to the generic hook, and the reason is reported.
fn attach_ingress(program: &mut Xdp, device: Device<'_>) -> Result<(FdLink, Option<String>), XdpError> {
    let (id, reason) = match program.attach_to_if_index(device.ifindex, XdpMode::Driver) {
        Ok(id) => (id, None),
        Err(native) if is_taken(&native) || is_missing(&native) => {
            return Err(attach_error(device, "ingress program", &native));
        }
        Err(native) => {
            let id = program
                .attach_to_if_index(device.ifindex, XdpMode::Skb)
                .map_err(|error| attach_error(device, "ingress program", &error))?;
            (id, Some(chain(&native)))
        }
    };
    let link = program.take_link(id).map_err(|error| XdpError::from_program("take link", &error))?;
    let link = link.try_into().map_err(|_: LinkError| XdpError::NotSupported {
        operation: format!("attach to {}", device.name),
        reason: "no BPF links for XDP".to_owned(),
    })?;
    Ok((link, reason))
}

/// `false`: the link's device is gone, so the pin was removed.
fn update_ingress(program: &mut Xdp, link: FdLink, path: &Path) -> Result<bool, XdpError> {
    let link = XdpLink::try_from(link).map_err(|error| stale(path, &error))?;
    match program.attach_to_link(link) {
        // Dropping the taken link closes its descriptor; the pin keeps it attached.
        Ok(id) => program.take_link(id).map(|_| true).map_err(|error| stale(path, &error)),
        Err(error) => remove_defunct(path, &error),
    }
}

fn update_guard(program: &mut SchedClassifier, link: FdLink, path: &Path) -> Result<bool, XdpError> {
    let link = SchedClassifierLink::try_from(link).map_err(|error| stale(path, &error))?;
    match program.attach_to_link(link) {
        Ok(id) => program.take_link(id).map(|_| true).map_err(|error| stale(path, &error)),
        Err(error) => remove_defunct(path, &error),
    }
}

/// The kernel answers ENOLINK when the device of a link was removed (`bpf_xdp_link_update`,
/// `tcx_link_update`).
fn remove_defunct(path: &Path, error: &ProgramError) -> Result<bool, XdpError> {
    if errno(error) != Some(libc::ENOLINK) {
        return Err(stale(path, error));
    }
    fs::remove_file(path).map(|()| false).map_err(|source| XdpError::File {
        operation: "remove pin",
        path: path.to_owned(),
        source,
    })
}

fn open_link(path: &Path) -> Result<Option<FdLink>, XdpError> {
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(link.into())),
        Err(error) => match errno(&error) {
            Some(libc::ENOENT) => Ok(None),
            Some(libc::EPERM) => {
                Err(XdpError::NoPermission { operation: format!("open pin {}", path.display()) })
            }
            _ => Err(stale(path, &error)),
        },
    }
}

fn pin(link: FdLink, path: &Path) -> Result<(), XdpError> {
    link.pin(path).map(drop).map_err(|error| XdpError::from_pin(path.to_owned(), error))
}

fn stale(path: &Path, error: &(dyn std::error::Error + 'static)) -> XdpError {
    XdpError::StalePin { path: path.to_owned(), reason: format!("cannot be taken over ({})", chain(error)) }
}

fn attach_error(device: Device<'_>, what: &str, error: &ProgramError) -> XdpError {
    let name = device.name.to_owned();
    if is_taken(error) {
        return XdpError::DeviceTaken { device: name, reason: chain(error) };
    }
    if is_missing(error) {
        return XdpError::Device { device: name, reason: chain(error) };
    }
    XdpError::from_program(format!("attach the {what} to {name}"), error)
}

fn is_taken(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

fn is_missing(error: &ProgramError) -> bool {
    // An unknown device name is reported as a system error, not as one of a BPF system call.
    let of_system = matches!(error, ProgramError::TcError(TcError::IoError(source)) if source.raw_os_error() == Some(libc::ENODEV));
    matches!(errno(error), Some(libc::ENODEV | libc::ENXIO))
        || of_system
        || matches!(error, ProgramError::UnknownInterface { .. })
}

fn missing(device: Device<'_>, error: &io::Error) -> XdpError {
    XdpError::Device { device: device.name.to_owned(), reason: error.to_string() }
}
