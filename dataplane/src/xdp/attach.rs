//! Attaching both programs to a device by pinned links, or taking over the links that an earlier process pinned.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};

use super::error::{XdpError, chain, errno};
use super::pins::PinFolder;

/// Where in the kernel the ingress program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// After the driver built a socket buffer: works with every device, and is slower.
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

/// Asks the kernel by netlink what runs on a device. A pinned link does not say which device it belongs to.
pub trait DeviceQuery {
    /// The program of the device with that ifindex; `None` when there is none.
    ///
    /// # Errors
    /// The device does not exist, or netlink failed.
    fn xdp_program(&self, ifindex: u32) -> io::Result<Option<DeviceState>>;
}

/// How a port came to its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where the ingress program runs.
    pub mode: AttachedMode,
    /// Why it does not run natively, as the kernel said it.
    pub skb_reason: Option<String>,
    /// The ingress link was pinned by an earlier process and got the new program by update.
    pub updated: bool,
    /// The egress guard is attached too.
    pub guarded: bool,
}

pub(super) const XDP_LINK: &str = "xdp";
pub(super) const TCX_LINK: &str = "tcx";

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
    let mut skb_reason = None;
    let updated = match open_link(&path)? {
        Some(link) => update_ingress(program, link, &path)?,
        None => false,
    };
    if !updated {
        let (link, reason) = attach_ingress(program, device)?;
        skb_reason = reason;
        pin(link, &path)?;
    }
    // The pin may stem from a device of the same number in another namespace: only the device itself can tell.
    let expected = program.info().map_err(|error| XdpError::from_program("program info", &error))?.id();
    let state = query.xdp_program(device.ifindex).map_err(|error| missing(device, &error))?;
    match state {
        Some(state) if state.program == expected => {
            Ok(Attached { mode: state.mode, skb_reason, updated, guarded: false })
        }
        other => Err(XdpError::StalePin {
            path,
            reason: format!(
                "does not act on interface {} (expected program {expected}, found {:?})",
                device.name,
                other.map(|state| state.program)
            ),
        }),
    }
}

/// Attaches the egress guard in front of other tcx programs, or updates the pinned link.
pub(super) fn egress(
    program: &mut SchedClassifier,
    device: Device<'_>,
    folder: &PinFolder,
) -> Result<(), XdpError> {
    let path = folder.link(TCX_LINK, device.ifindex);
    let updated = match open_link(&path)? {
        Some(link) => update_egress(program, link, &path)?,
        None => false,
    };
    if !updated {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program
            .attach_with_options(device.name, TcAttachType::Egress, options)
            .map_err(|error| attach_error(device, "egress guard", &error))?;
        let link = program.take_link(id).map_err(|error| XdpError::from_program("take link", &error))?;
        pin(link.try_into().map_err(|_| XdpError::Object("link of the egress guard"))?, &path)?;
    }
    let expected = program.info().map_err(|error| XdpError::from_program("program info", &error))?.id();
    let (_, running) = SchedClassifier::query_tcx(device.name, TcAttachType::Egress)
        .map_err(|error| attach_error(device, "egress guard", &error))?;
    if running.iter().any(|info| info.id() == expected) {
        return Ok(());
    }
    Err(XdpError::StalePin { path, reason: format!("does not act on interface {}", device.name) })
}

/// Native first. The reasons why a driver refuses are many (no support, MTU, queues, offloads), so any refusal but "taken"
/// leads to the generic hook, and the reason is reported.
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
        // The link's descriptor is closed when the taken link drops; the pin keeps it attached.
        Ok(id) => program.take_link(id).map(|_| true).map_err(|error| stale(path, &error)),
        Err(error) => remove_defunct(path, &error),
    }
}

fn update_egress(program: &mut SchedClassifier, link: FdLink, path: &Path) -> Result<bool, XdpError> {
    let link = SchedClassifierLink::try_from(link).map_err(|error| stale(path, &error))?;
    match program.attach_to_link(link) {
        Ok(id) => program.take_link(id).map(|_| true).map_err(|error| stale(path, &error)),
        Err(error) => remove_defunct(path, &error),
    }
}

/// The kernel answers ENOLINK when the device of a link was removed (`bpf_xdp_link_update`, `tcx_link_update`).
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
    matches!(errno(error), Some(libc::ENODEV | libc::ENXIO))
        || matches!(error, ProgramError::UnknownInterface { .. })
}

fn missing(device: Device<'_>, error: &io::Error) -> XdpError {
    XdpError::Device { device: device.name.to_owned(), reason: error.to_string() }
}
