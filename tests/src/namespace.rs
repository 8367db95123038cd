//! Network namespaces and the wires between them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{Result, checked, clean_up, run, settle};
use crate::stale::remove_stale;

/// A network namespace of this process. Dropping it ends the processes inside and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name ends in `role`; loopback is up, IPv6 autoconfiguration is off.
    pub fn new(role: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tohub-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_ra"), "0")?;
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/addr_gen_mode"), "1")?;
        }
        Ok(namespace)
    }

    /// Its name, as `ip netns` prints it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` inside the namespace.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend_from_slice(arguments);
        run("ip", &all)
    }

    /// A command to run inside the namespace. It keeps the machine's mount namespace, so that the
    /// BPF file system stays visible; `ip netns exec` would change it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs a program inside to its end; see [`run`].
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        checked(self.command(program).args(arguments))
    }

    /// Writes a setting below `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.run("sh", &["-c", &format!("echo {value} >/proc/sys/{path}")]).map(drop)
    }

    /// Forwards IPv4 between its interfaces, without redirects: a router of the "internet".
    pub fn become_router(&self) -> Result<()> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        self.sysctl("net/ipv4/conf/default/send_redirects", "0")
    }

    /// Adds an address (`A.B.C.D/len`) and brings the interface up.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", interface])?;
        self.up(interface)
    }

    /// Brings an interface up.
    pub fn up(&self, interface: &str) -> Result<()> {
        self.ip(&["link", "set", interface, "up"]).map(drop)
    }

    /// Adds a route.
    pub fn route(&self, prefix: &str, via: &str) -> Result<()> {
        self.ip(&["route", "add", prefix, "via", via]).map(drop)
    }

    /// Disables checksum offload: no hardware completes the checksums of packets sent through
    /// AF_XDP.
    pub fn end_host_offloads(&self, interface: &str) -> Result<()> {
        self.run("ethtool", &["-K", interface, "tx", "off"]).map(drop)
    }

    /// The processes that live in this namespace.
    pub fn processes(&self) -> Vec<i32> {
        clean_up(Command::new("ip").args(["netns", "pids", &self.name]))
            .map(|output| {
                let text = String::from_utf8_lossy(&output.stdout);
                text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
            })
            .unwrap_or_default()
    }

    /// Kills the processes inside, and waits until their resources (locks, ports, programs) are
    /// released.
    pub fn end_processes(&self) {
        settle(5, || {
            let processes = self.processes();
            for pid in processes.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            processes.is_empty()
        });
    }

    /// A namespace left by an earlier laboratory, to be removed.
    pub(crate) fn adopt(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end_processes();
        let _ = clean_up(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

/// Whether namespaces can be created. If not, prints the line that the test runner counts as a
/// skipped test.
pub fn available(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        remove_stale();
        return true;
    }
    println!("SKIP: {test}: it makes network namespaces and needs root");
    false
}

/// A wire: a veth pair with one end in each namespace, named as given.
pub fn connect(a: &Namespace, a_interface: &str, b: &Namespace, b_interface: &str) -> Result<()> {
    run(
        "ip",
        &[
            "link",
            "add",
            a_interface,
            "netns",
            a.name(),
            "type",
            "veth",
            "peer",
            "name",
            b_interface,
            "netns",
            b.name(),
        ],
    )
    .map(drop)
}
