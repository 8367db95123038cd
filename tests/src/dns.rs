//! A name server of the laboratory (dnsmasq) whose answers change while it runs.

use std::io::Write as _;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::command::{LabError, Result, clean_up, describe, wait_for};
use crate::namespace::Namespace;

/// Path in Debian.
const DNSMASQ: &str = "/usr/sbin/dnsmasq";

/// A running name server for names below `example.net`. Dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    child: Child,
    folder: tempfile::TempDir,
}

/// Whether it is installed. If not, prints the line that the test runner counts as a skipped test.
pub fn available(test: &str) -> bool {
    let installed = std::path::Path::new(DNSMASQ).exists();
    if !installed {
        println!("SKIP: {test}: it needs {DNSMASQ}; scripts/setup.sh installs it");
    }
    installed
}

impl NameServer {
    /// Starts it on an address of the namespace. `zone` has (name, address) in the order of the
    /// answer; `ttl` in seconds.
    pub fn start(namespace: &Namespace, address: &str, zone: &[(&str, &str)], ttl: u32) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("making a folder"))?;
        let mut command = namespace.command(DNSMASQ);
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll"])
            .args(["--user=root", "--group=root", "--bind-interfaces", "--local=/example.net/"])
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .arg(format!("--listen-address={address}"))
            .arg(format!("--local-ttl={ttl}"))
            .arg(format!("--addn-hosts={}", folder.path().join("hosts").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        write(&folder, zone)?;
        let child =
            command.spawn().map_err(|source| LabError::Start { command: describe(&command), source })?;
        let server = Self { child, folder };
        wait_for("the name server to listen", 5, || {
            let sockets = clean_up(namespace.command("cat").arg("/proc/net/udp")).ok()?;
            String::from_utf8_lossy(&sockets.stdout).contains(":0035 ").then_some(())
        })?;
        Ok(server)
    }

    /// Replaces the answers.
    pub fn answer(&self, zone: &[(&str, &str)]) -> Result<()> {
        write(&self.folder, zone)?;
        self.signal(Signal::HUP);
        // The signal is handled before the next query; a short wait is enough.
        crate::command::sleep_ms(100)
    }

    /// Stops answering, while still listening.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes answering.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(folder: &tempfile::TempDir, zone: &[(&str, &str)]) -> Result<()> {
    let failed = || LabError::io("writing the zone");
    let mut file = std::fs::File::create(folder.path().join("hosts")).map_err(failed())?;
    for (name, address) in zone {
        writeln!(file, "{address} {name}").map_err(failed())?;
    }
    Ok(())
}
