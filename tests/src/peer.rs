//! Third-party IPsec peers opposite a gateway: strongSwan in a namespace of its own, started by the scripts in `tests/peers/`.
//!
//! ```text
//! host ── gateway (tohub, 192.0.2.1) ── stranger (strongSwan, 192.0.2.2, and 10.2.0.1 behind it)
//! 192.168.1.10
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{LabError, Result, checked, run};
use crate::gateway::Gateway;
use crate::namespace::{Namespace, connect};

/// The pre-shared key of both ends.
pub const KEY: &str = "interoperable-0123456789";

/// Which strongSwan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 5.9 of Debian 12: ESP in UDP only.
    Five,
    /// 6.x of Debian testing: plain ESP too.
    Six,
}

impl Release {
    fn root(self) -> &'static str {
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

/// The running pair.
#[derive(Debug)]
pub struct Pair {
    /// tohub.
    pub gateway: Gateway,
    /// The host behind it.
    pub host: Namespace,
    /// strongSwan's namespace.
    pub stranger: Namespace,
}

/// Installs the peer if it is not there. `false` (and a line that says why) where that is impossible, for example without a Debian mirror.
pub fn installed(test: &str, release: Release) -> bool {
    if !crate::namespace::available(test) {
        return false;
    }
    match checked(script("setup.sh").arg(release.root())) {
        Ok(_) => true,
        Err(error) => {
            println!("SKIP: {test}: {} could not be installed: {error}", release.root());
            false
        }
    }
}

impl Pair {
    /// Makes the network, starts strongSwan with a template of `tests/peers/conf` and then the gateway with `configuration`.
    /// `settings` are further `KEY=VALUE` for the template.
    pub fn start(release: Release, template: &str, settings: &[&str], configuration: &str) -> Result<Self> {
        Self::start_with(release, template, settings, configuration, None)
    }

    /// The same with the folder that `make-pki.sh` made.
    pub fn start_with(
        release: Release,
        template: &str,
        settings: &[&str],
        configuration: &str,
        pki: Option<&Path>,
    ) -> Result<Self> {
        let (host, gateway, stranger) =
            (Namespace::new("host")?, Namespace::new("gateway")?, Namespace::new("stranger")?);
        connect(&host, "eth0", &gateway, "inside")?;
        connect(&gateway, "outside", &stranger, "eth0")?;
        host.address("eth0", "192.168.1.10/24")?;
        host.end_host_offloads("eth0")?;
        host.route("default", "192.168.1.1")?;
        stranger.address("eth0", "192.0.2.2/24")?;
        stranger.end_host_offloads("eth0")?;
        stranger.ip(&["address", "add", "10.2.0.1/16", "dev", "lo"])?;

        let mut render = script("render-conf.sh");
        render
            .args([
                template,
                "LOCAL=192.0.2.2",
                "REMOTE=192.0.2.1",
                "LOCAL_TS=10.2.0.0/16",
                "REMOTE_TS=192.168.1.0/24",
            ])
            .arg(format!("PSK={KEY}"))
            .args(settings);
        let folder = tempfile::tempdir().map_err(LabError::io("making a folder for a peer"))?;
        let file = folder.path().join("swanctl.conf");
        std::fs::write(&file, checked(&mut render)?).map_err(LabError::io("writing swanctl.conf"))?;
        checked(
            script("start-strongswan.sh").args([stranger.name(), release.number()]).arg(&file).args(pki),
        )?;
        let gateway = Gateway::start(gateway, configuration, 1)?;
        Ok(Self { gateway, host, stranger })
    }

    /// `swanctl` in the running strongSwan.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<String> {
        checked(script("exec.sh").arg(self.stranger.name()).arg("swanctl").args(arguments))
    }

    /// strongSwan's own log.
    pub fn stranger_log(&self) -> String {
        std::fs::read_to_string(format!("/run/tohub-peers/{}/charon.log", self.stranger.name()))
            .unwrap_or_default()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if crate::command::goes_wrong() {
            let log = self.stranger_log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("──── charon.log ends ────\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        let _ = checked(script("stop.sh").arg(self.stranger.name()));
        let _ = run("rm", &["-rf", &format!("/run/tohub-peers/{}", self.stranger.name())]);
    }
}

/// The gateway's configuration toward strongSwan. `policy` are the lines of `crypto isakmp policy 10`, `transform` of the transform set.
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

/// A folder with a CA, and certificates and keys of this type for both ends; `gateway.pem` in it is what the gateway imports.
pub fn make_pki(key_type: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().map_err(LabError::io("making a folder for certificates"))?;
    checked(script("make-pki.sh").arg(folder.path()).args([key_type, "192.0.2.1", "192.0.2.2"]))?;
    let mut bundle = String::new();
    for part in ["x509ca/ca.pem", "x509/192.0.2.1.pem", "private/192.0.2.1.pem"] {
        let text = std::fs::read_to_string(folder.path().join(part));
        bundle.push_str(&text.map_err(LabError::io(format!("reading {part}")))?);
    }
    std::fs::write(folder.path().join("gateway.pem"), bundle).map_err(LabError::io("writing gateway.pem"))?;
    Ok(folder)
}

fn script(name: &str) -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name))
}
