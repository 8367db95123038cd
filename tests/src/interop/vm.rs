//! A virtual machine with Debian's kernel, the peer of many cases run one after the other.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use lab::Result;
use lab::command::{LabError, sleep_ms, wait_for};
use lab::gateway::program;
use lab::namespace::{Namespace, connect};
use lab::peer::Stranger;
use lab::probe::{Transfer, now_ms};

use crate::bench::{FAR_HOST, THEIRS, stranger_configuration};
use crate::case::{Case, Opposite};

/// The machine, and the namespace with its bridge.
#[derive(Debug)]
pub struct Machine {
    /// The peer in the guest, which runs commands.
    pub stranger: Stranger,
    /// The namespace of the bridge.
    pub namespace: Namespace,
    // The bridge needs a first port at boot.
    _spare: Namespace,
    root: String,
    daemon_runs: AtomicBool,
}

/// The wire of one case, plugged into the machine's bridge; unplugged when dropped.
#[derive(Debug)]
pub struct Plug<'a> {
    machine: &'a Machine,
    interface: String,
}

impl Machine {
    /// Boots it with a root file system of `tests/peers/setup.sh`.
    pub fn boot(root: &str) -> Result<Self> {
        let (namespace, spare) = (Namespace::new("vm")?, Namespace::new("spare")?);
        connect(&namespace, "spare", &spare, "eth0")?;
        let addresses = format!("{THEIRS}/24,{FAR_HOST}/16");
        let stranger = Stranger::virtual_machine(&namespace, "spare", &addresses, root)?;
        let lab = program("tohub-lab")?;
        std::fs::copy(lab, stranger.folder().join("tohub-lab"))
            .map_err(LabError::io("giving the laboratory's program to a guest"))?;
        // Not every daemon installs a route with the inner source address.
        stranger.exec(&["ip", "route", "add", "192.168.1.0/24", "dev", "eth0", "src", FAR_HOST])?;
        Ok(Self {
            stranger,
            namespace,
            _spare: spare,
            root: root.to_owned(),
            daemon_runs: AtomicBool::new(false),
        })
    }

    /// Wires a gateway's interface to the machine. The MAC address on that wire differs from the
    /// last case's.
    pub fn plug(&self, gateway: &Namespace, interface: &str) -> Result<Plug<'_>> {
        let port = "wire".to_owned();
        connect(gateway, interface, &self.namespace, &port)?;
        let plug = Plug { machine: self, interface: port };
        self.namespace.ip(&["link", "set", &plug.interface, "master", "vm-bridge", "up"])?;
        self.stranger.exec(&["ip", "neigh", "flush", "all"])?;
        Ok(plug)
    }

    /// Starts the case's program with its configuration, without state of the case before.
    pub fn prepare(&self, case: &Case, pki: Option<&Path>) -> Result<()> {
        match case.opposite {
            // Starting a daemon in a guest takes seconds, reloading its configuration does not.
            Opposite::StrongSwanOnKernel
                if case.pki.is_none() && self.daemon_runs.load(Ordering::Relaxed) =>
            {
                self.stranger.reload_in_guest(&stranger_configuration(case)?)
            }
            Opposite::StrongSwanOnKernel => {
                self.daemon_runs.store(case.pki.is_none(), Ordering::Relaxed);
                self.stranger.strongswan_in_guest(&stranger_configuration(case)?, pki)
            }
            Opposite::LibreswanOnKernel if self.daemon_runs.swap(true, Ordering::Relaxed) => {
                self.stranger.reload_libreswan_in_guest(&stranger_configuration(case)?)
            }
            Opposite::LibreswanOnKernel => self.stranger.libreswan_in_guest(&stranger_configuration(case)?),
            Opposite::Namespace(_) => Ok(()),
        }
    }

    /// Closes the daemon's SAs before SAs and policies are added manually: the daemon would remove
    /// those together with its own. With `udp`, strongSwan is started if it is not running: the
    /// kernel decapsulates ESP in UDP only on a socket that is open for it on port 4500.
    pub fn stand_aside(&self, udp: bool) -> Result<()> {
        if self.daemon_runs.load(Ordering::Relaxed) {
            // Both commands fail if there is nothing to close.
            let _ = if self.root == "libreswan" {
                self.stranger.exec(&["ipsec", "whack", "--delete", "--name", "gw"])
            } else {
                self.stranger.swanctl(&["--terminate", "--ike", "gw", "--force"])
            };
        } else if udp {
            self.stranger.strongswan_in_guest("connections {}\n", None)?;
            self.daemon_runs.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends that many megabytes by TCP from a host to the guest and compares checksums.
    pub fn receive(&self, from: &Namespace, address: &str, port: u16, megabytes: u32) -> Result<Transfer> {
        let result = self.stranger.folder().join("sink");
        let _ = std::fs::remove_file(&result);
        let listen = format!("/peer/tohub-lab tcp-sink {port} 60 >/peer/sink");
        let mut guest = Background::start(self.stranger.command(&["sh", "-c", &listen]))?;
        let lines = || std::fs::read_to_string(&result).unwrap_or_default();
        wait_for("the guest to listen", 10, || lines().contains('\n').then_some(()))?;
        let started = now_ms();
        let mut sender = from.command(&program("tohub-lab")?.to_string_lossy());
        sender.args(["tcp-send", &format!("{address}:{port}"), &megabytes.to_string(), "60"]);
        let sent = lab::command::checked(&mut sender)?;
        guest.wait()?;
        Ok(compare(&sent, lines().lines().last().unwrap_or_default(), now_ms() - started))
    }

    /// The same from the guest to a host.
    pub fn send(&self, to: &Namespace, address: &str, port: u16, megabytes: u32) -> Result<Transfer> {
        let mut command = to.command(&program("tohub-lab")?.to_string_lossy());
        command.args(["tcp-sink", &port.to_string(), "60"]).stdout(Stdio::piped());
        let mut sink = Background::start(command)?;
        // The receiver is ready at once; its first line stays in the pipe.
        sleep_ms(300)?;
        let started = now_ms();
        let target = format!("{address}:{port}");
        let sent =
            self.stranger.exec(&["/peer/tohub-lab", "tcp-send", &target, &megabytes.to_string(), "60"])?;
        let received = sink.output()?;
        Ok(compare(&sent, received.lines().last().unwrap_or_default(), now_ms() - started))
    }
}

impl Plug<'_> {
    /// The machine's end of the wire.
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

impl Drop for Plug<'_> {
    fn drop(&mut self) {
        let _ = self.machine.namespace.ip(&["link", "delete", &self.interface]);
    }
}

fn compare(sent: &str, received: &str, milliseconds: u64) -> Transfer {
    let bytes = received.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Transfer { bytes, intact: !sent.trim().is_empty() && sent.trim() == received.trim(), milliseconds }
}

/// A program that runs in the background; ended when dropped.
#[derive(Debug)]
struct Background(Child);

impl Background {
    fn start(mut command: std::process::Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(|source| LabError::Start { command: lab::command::describe(&command), source })
    }

    fn wait(&mut self) -> Result<()> {
        self.0.wait().map(drop).map_err(LabError::io("waiting for a program"))
    }

    fn output(&mut self) -> Result<String> {
        use std::io::Read as _;
        let mut text = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut text).map_err(LabError::io("reading a program's output"))?;
        }
        self.wait()?;
        Ok(text)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
