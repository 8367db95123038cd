//! A data plane without a control plane: the laboratory writes the SAs itself, with known keys.
//!
//! Tests the packet process alone, and lets other programs with the same keys read and write our
//! ESP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use sa_table::policy::{Action, PortRecord, Prefix, Rule};
use sa_table::record::{
    AddressRange, DfPolicy, DscpPolicy, Encapsulation, EspAlgorithm, InboundSaRecord, KeyMaterial, Lifetime,
    Mode, OutboundSaRecord, PortRange, SelectorPair, Selectors, TrafficSelector,
};
use sa_table::{Capacities, Locking, Role, Segments, TableWriter};

use crate::command::{LabError, Result, clean_up, wait_for};
use crate::gateway::program;
use crate::namespace::Namespace;

/// One end of a manually keyed SA pair between two networks, or, in transport mode, between the two
/// ends themselves.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// Our address on the wire, on interface `outside`.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Plain or in UDP.
    pub encapsulation: Encapsulation,
    /// Our network (address, prefix length), behind interface `inside`.
    pub inner_local: (IpAddr, u8),
    /// The peer's network.
    pub inner_remote: (IpAddr, u8),
    /// Inbound SPI.
    pub spi_in: u32,
    /// Outbound SPI.
    pub spi_out: u32,
    /// ESP algorithm of both directions.
    pub algorithm: EspAlgorithm,
    /// Key and then salt, of both directions.
    pub key: Vec<u8>,
    /// Extended sequence numbers.
    pub esn: bool,
}

/// A running data plane with one tunnel.
#[allow(missing_debug_implementations, reason = "it holds keys")]
pub struct ByHand {
    namespace: Namespace,
    run_dir: PathBuf,
    child: Child,
    /// For tests that change the tables under traffic.
    pub table: TableWriter,
    segments: Segments,
}

impl ByHand {
    /// Starts the data plane on the interfaces `inside` and `outside` of the namespace, whose
    /// addresses and routes are set already.
    pub fn start(namespace: Namespace, tunnel: &Tunnel) -> Result<Self> {
        let unexpected =
            |error: &dyn std::fmt::Display| LabError::Unexpected(format!("shared tables: {error}"));
        let segments = Segments::create(Capacities::default(), Locking::BestEffort)
            .map_err(|error| unexpected(&error))?;
        let mut table = segments.table_writer().map_err(|error| unexpected(&error))?;

        let policy = table.allocate_policy().map_err(|error| unexpected(&error))?;
        let rule = Rule {
            source: Prefix { address: tunnel.inner_local.0, length: tunnel.inner_local.1 },
            destination: Prefix { address: tunnel.inner_remote.0, length: tunnel.inner_remote.1 },
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action: Action::Protect(policy),
        };
        let port = |id: u16, device: &str, outside: bool| -> Result<PortRecord> {
            Ok(PortRecord {
                id,
                ifindex: interface_index(&namespace, device)?,
                device: device.to_owned(),
                ios_name: device.to_owned(),
                mtu: 1500,
                has_crypto_map: outside,
                crypto_addresses: if outside { vec![tunnel.local] } else { Vec::new() },
                rule_list: outside.then_some(0),
                ..PortRecord::default()
            })
        };
        let ports = [port(0, "inside", false)?, port(1, "outside", true)?];
        table.publish_policy(&ports, &[vec![rule]]).map_err(|error| unexpected(&error))?;

        let selectors = Selectors::single(SelectorPair {
            protocol: None,
            local: network(tunnel.inner_local),
            remote: network(tunnel.inner_remote),
        });
        let keys = || {
            let algorithm = tunnel.algorithm;
            let (keys, salt) = tunnel.key.split_at(tunnel.key.len().saturating_sub(algorithm.salt_len()));
            let (key, integrity) = keys.split_at(keys.len().min(algorithm.cipher_key_len()));
            KeyMaterial::new(tunnel.algorithm, key, integrity, salt)
                .map_err(|error| LabError::Unexpected(format!("key of the laboratory: {error}")))
        };
        let inbound = table
            .install_inbound(&InboundSaRecord {
                spi: tunnel.spi_in,
                local: tunnel.local,
                peer_address: tunnel.remote,
                mode: tunnel.mode,
                encapsulation: tunnel.encapsulation,
                keys: keys()?,
                esn: tunnel.esn,
                replay_window: 64,
                selectors,
                policy,
                peer: None,
                lifetime: Lifetime::default(),
            })
            .map_err(|error| unexpected(&error))?;
        let outbound = table
            .install_outbound(&OutboundSaRecord {
                spi: tunnel.spi_out,
                source: tunnel.local,
                destination: tunnel.remote,
                mode: tunnel.mode,
                encapsulation: tunnel.encapsulation,
                keys: keys()?,
                esn: tunnel.esn,
                selectors,
                path_mtu: 1500,
                df: DfPolicy::Copy,
                dscp: DscpPolicy::Copy,
                policy,
                peer: Some(inbound),
                lifetime: Lifetime::default(),
            })
            .map_err(|error| unexpected(&error))?;
        table.set_policy_word(policy, Some(outbound)).map_err(|error| unexpected(&error))?;

        let run_dir = PathBuf::from(format!("/run/{}", namespace.name()));
        std::fs::create_dir_all(&run_dir).map_err(LabError::io("making a run directory"))?;
        let log = std::fs::File::create(run_dir.join("log")).map_err(LabError::io("making a log"))?;
        let mut command = namespace.command(&program("tohub-dataplane")?.to_string_lossy());
        command.arg("--run-dir").arg(&run_dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = segments
            .spawn(Role::DataPlane, &mut command, &[])
            .map_err(LabError::io("starting the data plane"))?;
        let mut gateway = Self { namespace, run_dir, child, table, segments };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether the data plane still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.child
            .try_wait()
            .map(|status| status.is_none())
            .map_err(LabError::io("looking at the data plane"))
    }

    /// Starts a second data plane on the same tables and returns its exit code and output.
    pub fn start_second(&self) -> Result<(Option<i32>, String)> {
        let mut command = self.namespace.command(&program("tohub-dataplane")?.to_string_lossy());
        command
            .arg("--run-dir")
            .arg(&self.run_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let second = self
            .segments
            .spawn(Role::DataPlane, &mut command, &[])
            .map_err(LabError::io("starting a second data plane"))?;
        let output = second.wait_with_output().map_err(LabError::io("waiting for the second data plane"))?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        use std::io::Read as _;
        let socket = self.run_dir.join("dataplane.sock");
        let ready = wait_for("the data plane to be ready", 20, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("the data plane ended: {status}")));
            }
            let mut answer = String::new();
            std::os::unix::net::UnixStream::connect(&socket).ok()?.read_to_string(&mut answer).ok()?;
            let status: serde_json::Value = serde_json::from_str(&answer).ok()?;
            (status["state"] == "ready").then_some(Ok(()))
        });
        let log = std::fs::read_to_string(self.run_dir.join("log")).unwrap_or_default();
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(LabError::Unexpected(format!("{why}\n{log}"))),
            Err(error) => Err(LabError::Unexpected(format!("{error}\n{log}"))),
        }
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if crate::command::goes_wrong() {
            eprintln!("{}", std::fs::read_to_string(self.run_dir.join("log")).unwrap_or_default());
        }
        if let Ok(tohub) = program("tohub") {
            let mut release = self.namespace.command(&tohub.to_string_lossy());
            let _ = clean_up(release.arg("--run-dir").arg(&self.run_dir).arg("release"));
        }
        let _ = std::fs::remove_dir_all(&self.run_dir);
    }
}

fn network((address, length): (IpAddr, u8)) -> TrafficSelector {
    let addresses = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let first = u32::from(address) & mask;
            AddressRange { first: IpAddr::V4(first.into()), last: IpAddr::V4((first | !mask).into()) }
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            let first = u128::from(address) & mask;
            AddressRange { first: IpAddr::V6(first.into()), last: IpAddr::V6((first | !mask).into()) }
        }
    };
    TrafficSelector { addresses, ports: PortRange::ANY }
}

fn interface_index(namespace: &Namespace, device: &str) -> Result<u32> {
    let text = namespace.ip(&["-o", "link", "show", "dev", device])?;
    text.split(':')
        .next()
        .and_then(|index| index.trim().parse().ok())
        .ok_or_else(|| LabError::Unexpected(format!("no index of {device} in {text:?}")))
}
