//! The pin folder of an instance: its contents and its removal.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo};
use ebpf_abi::map;

use super::bpffs;
use super::error::{XdpError, chain, errno};

/// Prefix of pins whose device is in another namespace.
const ASIDE: &str = "aside";

/// `/sys/fs/bpf/tohub/<instance>`, of the machine.
#[derive(Clone, Debug)]
pub(super) struct PinFolder {
    path: PathBuf,
}

impl PinFolder {
    /// Names the folder without touching it.
    pub(super) fn of(instance: &str) -> Self {
        Self { path: bpffs::find().join("tohub").join(instance) }
    }

    /// Mounts bpffs if necessary, and creates the folder.
    pub(super) fn create(instance: &str) -> Result<Self, XdpError> {
        bpffs::ensure()?;
        let folder = Self::of(instance);
        fs::create_dir_all(&folder.path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => XdpError::from_io("make the pin folder", &source),
            _ => XdpError::File { operation: "make", path: folder.path.clone(), source },
        })?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn link(&self, kind: &str, ifindex: u32) -> PathBuf {
        self.path.join(format!("{kind}-{ifindex}"))
    }

    /// The pins of that kind.
    pub(super) fn pins_of(&self, kind: &str) -> Vec<PathBuf> {
        self.linked(kind).into_iter().map(|ifindex| self.link(kind, ifindex)).collect()
    }

    /// The pins that were set aside.
    pub(super) fn aside(&self) -> Vec<PathBuf> {
        self.pins_of(ASIDE)
    }

    /// Renames a pin whose device is in another namespace: the link stays, and the name becomes
    /// free.
    pub(super) fn set_aside(&self, path: &Path) -> Result<(), XdpError> {
        let taken = self.linked(ASIDE);
        let free = (0..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        self.rename(path, &self.link(ASIDE, free))
    }

    /// Renames a pin.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), XdpError> {
        fs::rename(from, to).map_err(|source| XdpError::File {
            operation: "rename pin",
            path: from.to_owned(),
            source,
        })
    }

    /// The interface indices that have a link of `kind` pinned.
    pub(super) fn linked(&self, kind: &str) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_prefix(kind)?.strip_prefix('-')?.parse().ok()
            })
            .collect()
    }

    /// Checks each pinned map before it is taken over, because loading would accept any object
    /// under the right name.
    pub(super) fn check_maps(&self, expected: impl Fn(&str) -> Option<MapShape>) -> Result<(), XdpError> {
        for name in map::ALL {
            let path = self.path.join(name);
            let stale = |reason: String| XdpError::StalePin { path: path.clone(), reason };
            if !path.exists() {
                continue;
            }
            let data = MapData::from_pin(&path).map_err(|error| match errno(&error) {
                Some(libc::EPERM) => {
                    XdpError::NoPermission { operation: format!("open pin {}", path.display()) }
                }
                _ => stale(format!("is not a map ({})", chain(&error))),
            })?;
            let found = data.info().map_err(|error| stale(chain(&error)))?;
            let expected = expected(name).ok_or(XdpError::Object("map of that name"))?;
            let found = MapShape::of(&found);
            if found != expected {
                return Err(stale(format!(
                    "is a map of another version (found {found:?}, need {expected:?})"
                )));
            }
        }
        Ok(())
    }

    /// The kernel's IDs of the pinned maps.
    pub(super) fn map_ids(&self) -> Result<BTreeSet<u32>, XdpError> {
        let number = |name: &str| {
            let path = self.path.join(name);
            let data = MapData::from_pin(&path).map_err(|error| XdpError::from_map("pins", &error))?;
            Ok(data.info().map_err(|error| XdpError::from_map("pins", &error))?.id())
        };
        map::ALL.into_iter().map(number).collect()
    }
}

/// Properties that must be equal for two maps to be interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapShape {
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) entries: u32,
    pub(super) kind: u32,
}

impl MapShape {
    fn of(info: &MapInfo) -> Self {
        Self {
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            kind: info.map_type().map_or(0, |kind| kind as u32),
        }
    }
}

/// The result of [`release`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Pinned links, hence attached programs.
    pub links: usize,
    /// Pinned maps and other pins.
    pub maps: usize,
}

/// Removes every pin of an instance: programs are detached and maps freed as soon as no process
/// holds them. Works on foreign and corrupt pins too. An instance without pins is no error.
///
/// # Errors
/// A file that cannot be removed.
pub fn release(instance: &str) -> Result<Released, XdpError> {
    let folder = PinFolder::of(instance);
    let mut released = Released::default();
    let entries = match fs::read_dir(folder.path()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(released),
        Err(source) => return Err(unremovable(folder.path(), source)),
    };
    for entry in entries {
        let path = entry.map_err(|source| unremovable(folder.path(), source))?.path();
        fs::remove_file(&path).map_err(|source| unremovable(&path, source))?;
        let is_link = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains('-'));
        *(if is_link { &mut released.links } else { &mut released.maps }) += 1;
    }
    fs::remove_dir(folder.path()).map_err(|source| unremovable(folder.path(), source))?;
    Ok(released)
}

fn unremovable(path: &Path, source: io::Error) -> XdpError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            XdpError::NoPermission { operation: format!("remove pin {}", path.display()) }
        }
        _ => XdpError::File { operation: "remove pin", path: path.to_owned(), source },
    }
}
