//! Selection of the bpffs for the pins: one that outlives this process.
//!
//! A pin keeps a program on its device only as long as its bpffs is mounted somewhere.
//! `ip netns exec` gives a process its own mount namespace, with a new `/sys` that hides the
//! machine's bpffs; a bpffs mounted there disappears with the last process of the command, and the
//! guard with it. A bpffs below `/run` would be mounted in the same namespace and disappear too. So
//! the machine's own bpffs is used: that of the mount namespace of process 1, by `/proc/1/root`,
//! or, if that is not accessible, of the topmost accessible ancestor of this process.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::mount::MountFlags;

use super::error::XdpError;

const BPFFS: &str = "/sys/fs/bpf";
/// More than any chain of ancestors.
const GENERATIONS: usize = 64;
/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const MAGIC: u64 = 0xcafe_4a11;

/// The bpffs at `/sys/fs/bpf` for this process and for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    /// A bpffs is mounted here.
    here: bool,
    /// The machine's view; `None` if no other process is accessible.
    machine: Option<Machine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    /// The process whose view it is.
    process: u32,
    /// A bpffs is mounted there.
    mounted: bool,
    /// It is the file system that this process sees too.
    same: bool,
    /// Both have one mount namespace.
    one_namespace: bool,
}

/// Location of the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    /// Here, once a bpffs is mounted.
    HereMounted,
    /// In the view of this process.
    Machine(u32),
    /// None that outlives this process.
    Nowhere,
}

impl View {
    fn take() -> Self {
        Self { here: is_bpffs(Path::new(BPFFS)), machine: Machine::look() }
    }

    fn place(self) -> Place {
        match (self.here, self.machine) {
            (true, Some(machine)) if machine.same || machine.one_namespace => Place::Here,
            // Without access to other processes (no CAP_SYS_PTRACE) this is a restricted service,
            // which did not mount this bpffs itself.
            (true, None) => Place::Here,
            (false, Some(machine)) if machine.one_namespace => Place::HereMounted,
            (_, Some(machine)) if machine.mounted => Place::Machine(machine.process),
            (_, Some(_)) | (false, None) => Place::Nowhere,
        }
    }
}

impl Machine {
    fn look() -> Option<Self> {
        let process = first_process()?;
        let path = seen_by(process);
        let there = fs::metadata(&path).ok()?;
        let same_file =
            |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        let here = fs::metadata(BPFFS).ok();
        let (own, first) = (fs::metadata("/proc/self/ns/mnt").ok()?, fs::metadata(mounts_of(process)).ok()?);
        Some(Self {
            process,
            mounted: is_bpffs(&path),
            same: here.is_some_and(|here| same_file(&here, &there)),
            one_namespace: same_file(&own, &first),
        })
    }
}

/// The folder of the pins, without creating or mounting anything.
pub(super) fn find() -> PathBuf {
    match View::take().place() {
        Place::Machine(1) => seen_by(1),
        Place::Machine(process) => held(process),
        Place::Here | Place::HereMounted | Place::Nowhere => PathBuf::from(BPFFS),
    }
}

/// The same; mounts bpffs if the machine has none.
///
/// # Errors
/// There is none that outlives this process, or it cannot be mounted.
pub(super) fn ensure() -> Result<(), XdpError> {
    match View::take().place() {
        Place::Here | Place::Machine(_) => Ok(()),
        Place::HereMounted => mount(),
        Place::Nowhere => Err(XdpError::ShortLived(PathBuf::from(BPFFS))),
    }
}

fn seen_by(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/root{BPFFS}"))
}

fn mounts_of(process: u32) -> String {
    format!("/proc/{process}/ns/mnt")
}

/// Process 1, or the topmost accessible ancestor of this process.
fn first_process() -> Option<u32> {
    let may_look =
        |process: u32| fs::metadata(mounts_of(process)).is_ok() && fs::metadata(seen_by(process)).is_ok();
    if may_look(1) {
        return Some(1);
    }
    let ancestors = std::iter::successors(Some(std::process::id()), |process| parent(*process));
    ancestors.skip(1).take(GENERATIONS).filter(|process| may_look(*process)).last()
}

/// From `/proc/PID/stat`, whose second field is a name in brackets with anything in it.
fn parent(process: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let parent = text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

/// The folder in the view of that process, by an open descriptor, as the process may end before
/// this one.
fn held(process: u32) -> PathBuf {
    static HELD: OnceLock<Option<File>> = OnceLock::new();
    match HELD.get_or_init(|| File::open(seen_by(process)).ok()) {
        Some(folder) => PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())),
        None => seen_by(process),
    }
}

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|magic| magic == MAGIC))
}

fn mount() -> Result<(), XdpError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    rustix::mount::mount("bpf", BPFFS, "bpf", flags, c"mode=0700").map_err(|errno| {
        let (operation, source) = ("mount bpffs on", io::Error::from(errno));
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => XdpError::from_io(format!("{operation} {BPFFS}"), &source),
            Some(libc::ENODEV | libc::ENOENT) => XdpError::NotSupported {
                operation: format!("{operation} {BPFFS}"),
                reason: source.to_string(),
            },
            _ => XdpError::File { operation, path: Path::new(BPFFS).to_owned(), source },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(here: bool, mounted: bool, same: bool, one_namespace: bool) -> View {
        View { here, machine: Some(Machine { process: 7, mounted, same, one_namespace }) }
    }

    #[test]
    fn the_line_of_descent_is_followed_to_its_end() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert!(first_process().is_some(), "the parent of a test may be looked at");
    }

    #[test]
    fn pins_lie_in_a_bpffs_that_outlives_the_process() {
        let cases = [
            ("an ordinary machine", view(true, true, true, true), Place::Here),
            ("one where nobody mounted it yet", view(false, false, false, true), Place::HereMounted),
            ("a service with mounts of its own", view(true, true, true, false), Place::Here),
            ("ip netns exec", view(false, true, false, false), Place::Machine(7)),
            ("the same, and somebody mounted one there", view(true, true, false, false), Place::Machine(7)),
            ("ip netns exec on a machine without", view(false, false, false, false), Place::Nowhere),
            ("a private one on a machine without", view(true, false, false, false), Place::Nowhere),
            ("a service that may not look", View { here: true, machine: None }, Place::Here),
            ("the same without bpffs", View { here: false, machine: None }, Place::Nowhere),
        ];
        for (what, view, place) in cases {
            assert_eq!(view.place(), place, "{what}");
        }
    }
}
