//! The three programs. The kernel verifies them once: they are pinned, and a later process takes
//! them over instead of loading them again.
//!
//! A program is bound to the maps that it was loaded with. One that refers to any other map than
//! those of the pin folder would not follow the policy, so it is not taken over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::{Program, ProgramError, ProgramInfo, SchedClassifier, Xdp};
use aya_obj::programs::XdpAttachType;
use ebpf_abi::{ARRIVAL_PROGRAM, DEPARTURE_PROGRAM, INGRESS_PROGRAM};

use super::attach::Hook;
use super::error::{XdpError, chain, errno};
use super::pins::PinFolder;

/// SHA-256 of the object, as `sha256sum` prints it: programs of another object are not taken over.
const OBJECT_SUM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/tohub-ebpf.o.sha256"));
/// Number of its digits in the names of pins.
const DIGITS: usize = 16;

/// The programs of an instance.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) ingress: Xdp,
    pub(super) departure: SchedClassifier,
    pub(super) arrival: SchedClassifier,
}

impl Loaded {
    /// Takes over pinned programs, and loads and pins the others. `maps` are the kernel's IDs of
    /// the instance's maps.
    ///
    /// # Errors
    /// The kernel refuses a program, or a pin is not ours.
    pub(super) fn take(ebpf: &mut Ebpf, folder: &PinFolder, maps: &BTreeSet<u32>) -> Result<Self, XdpError> {
        let loaded = Self {
            ingress: take(ebpf, INGRESS_PROGRAM, folder, maps)?,
            departure: take(ebpf, DEPARTURE_PROGRAM, folder, maps)?,
            arrival: take(ebpf, ARRIVAL_PROGRAM, folder, maps)?,
        };
        remove_others(folder);
        Ok(loaded)
    }

    /// The program of a hook.
    pub(super) fn guard(&mut self, hook: Hook) -> &mut SchedClassifier {
        match hook {
            Hook::Departure => &mut self.departure,
            Hook::Arrival => &mut self.arrival,
        }
    }
}

/// Operations common to both program types.
trait Kind: Sized {
    const WHAT: &str;
    fn from_pin(path: &Path) -> Result<Self, ProgramError>;
    fn about(&self) -> Result<ProgramInfo, ProgramError>;
    /// Loads a program of the object, which has the kernel verify it.
    fn verify(program: &mut Program) -> Result<(), ProgramError>;
}

impl Kind for Xdp {
    const WHAT: &str = "load the ingress program";

    fn from_pin(path: &Path) -> Result<Self, ProgramError> {
        Self::from_pin(path, XdpAttachType::Interface)
    }

    fn about(&self) -> Result<ProgramInfo, ProgramError> {
        self.info()
    }

    fn verify(program: &mut Program) -> Result<(), ProgramError> {
        <&mut Self>::try_from(program)?.load()
    }
}

impl Kind for SchedClassifier {
    const WHAT: &str = "load the guard";

    fn from_pin(path: &Path) -> Result<Self, ProgramError> {
        Self::from_pin(path)
    }

    fn about(&self) -> Result<ProgramInfo, ProgramError> {
        self.info()
    }

    fn verify(program: &mut Program) -> Result<(), ProgramError> {
        <&mut Self>::try_from(program)?.load()
    }
}

fn take<P: Kind>(
    ebpf: &mut Ebpf,
    name: &'static str,
    folder: &PinFolder,
    maps: &BTreeSet<u32>,
) -> Result<P, XdpError> {
    let path = path_of(folder, name);
    if let Some(program) = open::<P>(&path)? {
        let info = program.about().map_err(|error| XdpError::from_program("program info", &error))?;
        if is_ours(&info, name, maps) {
            return Ok(program);
        }
        drop(program);
        remove(&path)?;
    }
    let program = ebpf.program_mut(name).ok_or(XdpError::Object(name))?;
    P::verify(program).map_err(|error| XdpError::from_program(P::WHAT, &error))?;
    program.pin(&path).map_err(|error| XdpError::from_pin(path.clone(), error))?;
    open(&path)?.ok_or(XdpError::Object(name))
}

/// `None` where nothing is pinned.
fn open<P: Kind>(path: &Path) -> Result<Option<P>, XdpError> {
    match P::from_pin(path) {
        Ok(program) => Ok(Some(program)),
        Err(error) => match errno(&error) {
            Some(libc::ENOENT) => Ok(None),
            Some(libc::EPERM) => {
                Err(XdpError::NoPermission { operation: format!("open pin {}", path.display()) })
            }
            _ => Err(XdpError::StalePin {
                path: path.to_owned(),
                reason: format!("is not a program ({})", chain(&error)),
            }),
        },
    }
}

/// Whether it is the program of that name, bound to no other maps than `maps`. If the kernel does
/// not report the maps, the program is not used.
fn is_ours(info: &ProgramInfo, name: &str, maps: &BTreeSet<u32>) -> bool {
    let bound = info.map_ids().ok().flatten();
    info.name_as_str() == Some(name)
        && bound.is_some_and(|ids| !ids.is_empty() && ids.iter().all(|id| maps.contains(id)))
}

/// Removes the pins of programs of other objects. Attached programs stay until their links are
/// updated.
fn remove_others(folder: &PinFolder) {
    let Ok(entries) = fs::read_dir(folder.path()) else { return };
    let own = [INGRESS_PROGRAM, DEPARTURE_PROGRAM, ARRIVAL_PROGRAM].map(|name| path_of(folder, name));
    let is_program = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("tohub_"))
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if is_program(&path) && !own.contains(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn path_of(folder: &PinFolder, name: &str) -> PathBuf {
    // No dot: bpffs refuses names with one.
    folder.path().join(format!("{name}_{}", OBJECT_SUM.get(..DIGITS).unwrap_or(OBJECT_SUM)))
}

fn remove(path: &Path) -> Result<(), XdpError> {
    fs::remove_file(path).map_err(|source| XdpError::File {
        operation: "remove pin",
        path: path.to_owned(),
        source,
    })
}
