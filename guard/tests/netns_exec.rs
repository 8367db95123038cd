//! Under `ip netns exec` a process has a private mount namespace, which ends with it. The guard
//! must survive that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};

use dataplane::host::kernel::Netlink;
use dataplane::process::release::release;
use dataplane::xdp::Programs;
use lab::namespace::{Namespace, available, connect};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const GUARD: &str = env!("CARGO_BIN_EXE_tohub-guard");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/branch.cfg");
const PROTECTED: &str = "192.168.2.10";

/// A gateway whose outside device has a protected address and a protected neighbour.
struct Lab {
    gateway: Namespace,
    _outside: Namespace,
    run_dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let (gateway, outside) = (Namespace::new("gw").unwrap(), Namespace::new("out").unwrap());
        connect(&gateway, "outside", &outside, "eth0").unwrap();
        gateway.address("outside", "192.168.1.1/24").unwrap();
        outside.address("eth0", "192.168.2.10/24").unwrap();
        gateway.ip(&["route", "add", "192.168.2.0/24", "dev", "outside"]).unwrap();
        outside.ip(&["route", "add", "192.168.1.0/24", "dev", "eth0"]).unwrap();
        Self { gateway, _outside: outside, run_dir: tempfile::tempdir().unwrap() }
    }

    fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// Whether a packet leaves through the device, bypassing policy routing: only the guard can
    /// drop it.
    fn leaves(&self) -> bool {
        let ping = ["-c", "2", "-i", "0.2", "-W", "1", "-I", "outside", PROTECTED];
        self.gateway.command("ping").args(ping).output().unwrap().status.success()
    }

    fn guard_by_exec(&self) -> String {
        let run_dir = self.run_dir().display();
        format!("exec ip netns exec {} {GUARD} --config {EXAMPLE} --run-dir {run_dir}", self.gateway.name())
    }

    fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.gateway.name())).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                body()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let run_dir = self.run_dir.path().to_owned();
        let _ = self.inside(move || release(&run_dir, None));
    }
}

fn sh(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

/// Runs the script in a new PID namespace, whose first process may or may not see the system's
/// bpffs.
fn machine(script: &str) -> Output {
    let arguments = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
    Command::new("unshare").args(arguments).output().unwrap()
}

#[test]
fn the_guard_outlives_ip_netns_exec() {
    if available("the_guard_outlives_ip_netns_exec") {
        outlives(|lab| sh(&lab.guard_by_exec()));
    }
}

#[test]
fn the_guard_lies_where_the_first_process_sees_it() {
    if available("the_guard_lies_where_the_first_process_sees_it") {
        outlives(|lab| machine(&format!("sh -c '{}'; exit $?", lab.guard_by_exec())));
    }
}

fn outlives(guard: impl FnOnce(&Lab) -> Output) {
    let lab = Lab::new();
    assert!(lab.leaves(), "without guard the way is open");
    let ended = guard(&lab);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!lab.leaves(), "the process has ended, the guard stands");
    let name = std::fs::read_to_string(lab.run_dir().join("pins")).unwrap();
    let counters = lab.inside(|| {
        let mut programs = Programs::load(&name).unwrap();
        let ifindex = Netlink::open().unwrap().device("outside").unwrap().unwrap().ifindex;
        assert!(programs.is_guarded(ifindex, "outside"), "found by a process without mounts of its own");
        programs.counters().unwrap()
    });
    let dropped = counters.iter().find(|(name, _)| *name == "departure-drop-protected").unwrap().1;
    assert!(dropped > 0, "the guard dropped it, not something else: {counters:?}");
    let run_dir = lab.run_dir();
    let released = lab.inside(|| release(run_dir, None)).unwrap();
    assert!(released.links >= 2, "{released:?}");
    assert!(lab.leaves(), "released");
}

#[test]
fn a_machine_without_bpffs_is_refused_with_the_remedy() {
    if !available("a_machine_without_bpffs_is_refused_with_the_remedy") {
        return;
    }
    let lab = Lab::new();
    // A PID namespace whose first process sees no bpffs.
    let ended = machine(&format!("umount -l /sys/fs/bpf; sh -c '{}'; exit $?", lab.guard_by_exec()));
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(5), "{text}");
    assert!(text.contains("mount -t bpf bpf /sys/fs/bpf") && text.contains("nsenter --net="), "{text}");
    assert!(lab.leaves(), "nothing was attached that would have vanished");
}
