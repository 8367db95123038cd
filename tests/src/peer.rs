//! Third-party IPsec peers of a gateway, each in its own namespace, started by the scripts in
//! `tests/peers/`.
//!
//! ```text
//! host ── gateway (tohub, 192.0.2.1) ── peer (strongSwan, 192.0.2.2, and 10.2.0.1 behind it)
//! 192.168.1.10
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{LabError, Result, checked, clean_up};
use crate::gateway::Gateway;
use crate::namespace::{Namespace, connect};

/// The pre-shared key of both ends.
pub const KEY: &str = "interoperable-0123456789";

/// Release of strongSwan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 5.9 of Debian 12: ESP in UDP only.
    Five,
    /// 6.x of Debian testing: plain ESP too.
    Six,
}

impl Release {
    /// Its name for `setup.sh`.
    pub fn root(self) -> &'static str {
        match self {
            Self::Five => "strongswan5",
            Self::Six => "strongswan6",
        }
    }

    fn number(self) -> &'static str {
        match self {
            Self::Five => "5",
            Self::Six => "6",
        }
    }
}

/// A third-party peer that runs in a namespace. Dropping it stops it and removes its files, logs
/// included.
#[derive(Debug)]
pub struct Stranger {
    namespace: String,
}

impl Stranger {
    /// Starts a strongSwan with a `swanctl.conf`, and optionally the folder created by
    /// `make-pki.sh`.
    pub fn strongswan(
        namespace: &Namespace,
        release: Release,
        configuration: &str,
        pki: Option<&Path>,
    ) -> Result<Self> {
        let file = private_file(configuration)?;
        let stranger = Self { namespace: namespace.name().to_owned() };
        checked(
            script("start-strongswan.sh")
                .args([namespace.name(), release.number()])
                .arg(file.path())
                .args(pki),
        )?;
        Ok(stranger)
    }

    /// Starts it again after its process died.
    pub fn restart_strongswan(&self, release: Release, configuration: &str) -> Result<()> {
        let file = private_file(configuration)?;
        checked(script("start-strongswan.sh").args([&self.namespace, release.number()]).arg(file.path()))
            .map(drop)
    }

    /// Boots a virtual machine with Debian's kernel and that root file system. `interface` is an
    /// end of a wire without address; the guest's interface is bridged with it and has `addresses`
    /// (with lengths, separated by commas).
    pub fn virtual_machine(
        namespace: &Namespace,
        interface: &str,
        addresses: &str,
        root: &str,
    ) -> Result<Self> {
        let stranger = Self { namespace: namespace.name().to_owned() };
        checked(script("start-kernel-vm.sh").args([namespace.name(), interface, addresses, root]))?;
        Ok(stranger)
    }

    /// Starts a strongSwan inside this virtual machine; a running one is replaced.
    pub fn strongswan_in_guest(&self, configuration: &str, pki: Option<&Path>) -> Result<()> {
        let file = private_file(configuration)?;
        checked(script("start-strongswan.sh").args([&self.namespace, "vm"]).arg(file.path()).args(pki))
            .map(drop)
    }

    /// Loads another configuration into the strongSwan of this guest and closes its SAs.
    pub fn reload_in_guest(&self, configuration: &str) -> Result<()> {
        let _ = self.swanctl(&["--terminate", "--ike", "gw", "--force"]);
        std::fs::write(self.folder().join("swanctl.conf"), configuration)
            .map_err(LabError::io("writing swanctl.conf"))?;
        self.swanctl(&["--load-all", "--noprompt"]).map(drop)
    }

    /// Starts a libreswan inside this virtual machine; a running one is replaced.
    pub fn libreswan_in_guest(&self, configuration: &str) -> Result<()> {
        let file = private_file(configuration)?;
        checked(script("start-libreswan.sh").args([&self.namespace, "vm"]).arg(file.path()).arg(KEY))
            .map(drop)
    }

    /// Loads another configuration into the libreswan of this guest and closes its SAs.
    pub fn reload_libreswan_in_guest(&self, configuration: &str) -> Result<()> {
        std::fs::write(self.folder().join("ipsec.conf"), configuration)
            .map_err(LabError::io("writing ipsec.conf"))?;
        self.exec(&["ipsec", "whack", "--delete", "--name", "gw"])?;
        self.exec(&["ipsec", "addconn", "--config", "/peer/ipsec.conf", "gw"]).map(drop)
    }

    /// Adds manually keyed SAs to the guest's kernel; the arguments are those of `manual-sas.sh`
    /// after the namespace.
    pub fn manual_sas(&self, arguments: &[&str]) -> Result<()> {
        checked(script("manual-sas.sh").arg(&self.namespace).args(arguments)).map(drop)
    }

    /// Runs a command where the peer runs.
    pub fn exec(&self, arguments: &[&str]) -> Result<String> {
        checked(&mut self.command(arguments))
    }

    /// The same command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = script("exec.sh");
        command.arg(&self.namespace).args(arguments);
        command
    }

    /// `swanctl` in the running strongSwan.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<String> {
        checked(script("exec.sh").arg(&self.namespace).arg("swanctl").args(arguments))
    }

    /// Process id of the daemon, or of the virtual machine.
    pub fn pid(&self) -> Result<i32> {
        let file = self.folder().join("pid");
        let text = std::fs::read_to_string(&file).map_err(LabError::io("reading a peer's pid"))?;
        text.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| LabError::Unexpected(format!("no process id in {}", file.display())))
    }

    /// Its folder; a guest sees this folder as `/peer`.
    pub fn folder(&self) -> PathBuf {
        state_folder().join(&self.namespace)
    }

    /// The log of its daemon.
    pub fn log(&self) -> String {
        ["charon.log", "pluto.log"]
            .iter()
            .filter_map(|name| std::fs::read(self.folder().join(name)).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = clean_up(script("stop.sh").arg(&self.namespace));
        let _ = std::fs::remove_dir_all(self.folder());
    }
}

/// Renders a template of `tests/peers/conf` with `KEY=VALUE` settings.
pub fn render(template: &str, settings: &[&str]) -> Result<String> {
    checked(script("render-conf.sh").arg(template).args(settings))
}

/// A folder with a CA, and certificates and keys of this type for both ends; the gateway imports
/// `gateway.pem`.
pub fn make_pki(key_type: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("tohub-{}-pki-", std::process::id()))
        .tempdir()
        .map_err(LabError::io("making a folder for certificates"))?;
    checked(script("make-pki.sh").arg(folder.path()).args([key_type, "192.0.2.1", "192.0.2.2"]))?;
    let mut bundle = String::new();
    for part in ["x509ca/ca.pem", "x509/192.0.2.1.pem", "private/192.0.2.1.pem"] {
        let text = std::fs::read_to_string(folder.path().join(part));
        bundle.push_str(&text.map_err(LabError::io(format!("reading {part}")))?);
    }
    std::fs::write(folder.path().join("gateway.pem"), bundle).map_err(LabError::io("writing gateway.pem"))?;
    Ok(folder)
}

/// Installs peers by the names that `setup.sh` knows.
pub fn install(peers: &[&str]) -> Result<()> {
    checked(script("setup.sh").args(peers)).map(drop)
}

/// The version of an installed peer, as its package manager names it.
pub fn version(root: &str) -> String {
    let cache = std::env::var_os("PEERS_CACHE").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_default();
            std::env::var_os("XDG_CACHE_HOME")
                .map_or_else(|| PathBuf::from(home).join(".cache"), PathBuf::from)
                .join("tohub-peers")
        },
        PathBuf::from,
    );
    let package = if root.starts_with("strongswan") { "strongswan-charon" } else { root };
    let status = std::fs::read_to_string(cache.join(root).join("var/lib/dpkg/status")).unwrap_or_default();
    let version = status
        .split("\n\n")
        .find(|entry| entry.starts_with(&format!("Package: {package}\n")))
        .and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("Version: ")))
        .unwrap_or("of unknown version");
    format!("{} {version}", package.trim_end_matches("-charon"))
}

/// The folder in which every running peer has its own.
pub fn state_folder() -> PathBuf {
    std::env::var_os("PEERS_STATE").map_or_else(|| PathBuf::from("/run/tohub-peers"), PathBuf::from)
}

/// The running pair.
#[derive(Debug)]
pub struct Pair {
    /// tohub.
    pub gateway: Gateway,
    /// The host behind it.
    pub host: Namespace,
    /// strongSwan.
    pub stranger: Stranger,
    _network: Namespace,
}

/// Installs the peer if it is missing. `false` (and a line with the reason) if that is impossible,
/// for example without a Debian mirror.
pub fn installed(test: &str, release: Release) -> bool {
    if !crate::namespace::available(test) {
        return false;
    }
    match install(&[release.root()]) {
        Ok(()) => true,
        Err(error) => {
            println!("SKIP: {test}: {} could not be installed: {error}", release.root());
            false
        }
    }
}

impl Pair {
    /// Makes the network, starts strongSwan with a template of `tests/peers/conf` and then the
    /// gateway with `configuration`. `settings` are further `KEY=VALUE` for the template.
    pub fn start(release: Release, template: &str, settings: &[&str], configuration: &str) -> Result<Self> {
        Self::start_with(release, template, settings, configuration, None)
    }

    /// The same with the folder that [`make_pki`] made.
    pub fn start_with(
        release: Release,
        template: &str,
        settings: &[&str],
        configuration: &str,
        pki: Option<&Path>,
    ) -> Result<Self> {
        let (host, gateway, network) =
            (Namespace::new("host")?, Namespace::new("gateway")?, Namespace::new("stranger")?);
        connect(&host, "eth0", &gateway, "inside")?;
        connect(&gateway, "outside", &network, "eth0")?;
        host.address("eth0", "192.168.1.10/24")?;
        host.end_host_offloads("eth0")?;
        host.route("default", "192.168.1.1")?;
        network.address("eth0", "192.0.2.2/24")?;
        network.end_host_offloads("eth0")?;
        network.ip(&["address", "add", "10.2.0.1/16", "dev", "lo"])?;

        let key = format!("PSK={KEY}");
        let mut all = vec![
            "LOCAL=192.0.2.2",
            "REMOTE=192.0.2.1",
            "LOCAL_TS=10.2.0.0/16",
            "REMOTE_TS=192.168.1.0/24",
            &key,
        ];
        all.extend_from_slice(settings);
        let stranger = Stranger::strongswan(&network, release, &render(template, &all)?, pki)?;
        let gateway = Gateway::start(gateway, configuration, 1)?;
        Ok(Self { gateway, host, stranger, _network: network })
    }

    /// `swanctl` in the running strongSwan.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<String> {
        self.stranger.swanctl(arguments)
    }

    /// strongSwan's own log.
    pub fn stranger_log(&self) -> String {
        self.stranger.log()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if crate::command::goes_wrong() {
            eprintln!("──── charon.log ends ────\n{}", tail(&self.stranger.log(), 40));
        }
    }
}

/// The last lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The gateway's configuration toward strongSwan. `policy` are the lines of
/// `crypto isakmp policy 10`, `transform` of the transform set.
pub fn gateway_configuration(policy: &[&str], transform: &str, entry: &[&str]) -> String {
    let indented = |lines: &[&str]| lines.iter().map(|line| format!(" {line}\n")).collect::<String>();
    format!(
        "hostname gateway
crypto ike default-version 2
crypto ike give-up 20
crypto logging session
crypto isakmp policy 10
{}crypto isakmp key {KEY} address 192.0.2.2
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts {transform}
 mode tunnel
crypto map tohub 1 ipsec-isakmp
 set peer 192.0.2.2
 set transform-set ts
 match address 101
{}interface GigabitEthernet0/0
 device inside
 ip address 192.168.1.1 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address 192.0.2.1 255.255.255.0
 crypto map tohub
ip route 10.2.0.0 255.255.0.0 192.0.2.2
access-list 101 permit ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255
",
        indented(policy),
        indented(entry)
    )
}

fn private_file(text: &str) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(&format!("tohub-{}-peer-", std::process::id()))
        .tempfile()
        .map_err(LabError::io("making a peer's configuration"))?;
    std::fs::write(file.path(), text).map_err(LabError::io("writing a peer's configuration"))?;
    Ok(file)
}

fn script(name: &str) -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name))
}
