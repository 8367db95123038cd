//! The configuration of a simulated gateway, as data and as the configuration text derived from it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use config::Configuration;
use config::edit::Offline;
use config::model::InterfaceName;
use controlplane::plan::{Device, Devices};

/// `crypto isakmp keepalive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Seconds of silence before the first probe.
    pub interval: u32,
    /// Seconds between probes.
    pub retry: u32,
    /// `periodic`, else on demand.
    pub periodic: bool,
}

/// One crypto-map entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Peers in order, by the index of their site.
    pub peers: Vec<usize>,
    /// The first peer is the default.
    pub default_first: bool,
    /// `idle-time N [default]`.
    pub idle: Option<(u32, bool)>,
    /// SA lifetime in seconds.
    pub lifetime: Option<u32>,
    /// `set pfs`.
    pub pfs: bool,
    /// 256-bit keys in ESP.
    pub wide: bool,
    /// Networks on this side and on the other, third octets behind 192.168: one permit each.
    pub permits: Vec<(u8, u8)>,
    /// Index of the pre-shared key.
    pub key: u8,
    /// Peers are configured by name.
    pub by_name: bool,
}

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Host name.
    pub name: String,
    /// Public address.
    pub address: Ipv4Addr,
    /// Dead peer detection.
    pub keepalive: Option<Keepalive>,
    /// Seconds until an unanswered initiation has failed.
    pub give_up: u32,
    /// Global idle timer in seconds.
    pub idle: Option<u32>,
    /// IKE SA lifetime in seconds.
    pub ike_lifetime: Option<u32>,
    /// Whether the crypto map is on the interface.
    pub applied: bool,
    /// The entries are those of a dynamic map: it only responds.
    pub dynamic: bool,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// The name that resolves to a site's address.
pub fn dns_name(site: &Site) -> String {
    format!("{}.example", site.name)
}

impl Site {
    /// The configuration as text. `sites` are all sites, since entries refer to their peers by
    /// index.
    pub fn text(&self, sites: &[Site]) -> String {
        let mut text = String::new();
        let out = &mut text;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "hostname {}\ncrypto ike give-up {}", self.name, self.give_up);
        let _ = writeln!(out, "crypto isakmp policy 10\n encryption aes 256\n hash sha256");
        let _ = writeln!(out, " authentication pre-share\n group 19");
        if let Some(seconds) = self.ike_lifetime {
            let _ = writeln!(out, " lifetime {seconds}");
        }
        for entry in &self.entries {
            for peer in entry.peers.iter().filter_map(|peer| sites.get(*peer)) {
                let _ = writeln!(out, "crypto isakmp key key-{} address {}", entry.key, peer.address);
            }
        }
        if let Some(Keepalive { interval, retry, periodic }) = self.keepalive {
            let mode = if periodic { "periodic" } else { "on-demand" };
            let _ = writeln!(out, "crypto isakmp keepalive {interval} {retry} {mode}");
        }
        if let Some(seconds) = self.idle {
            let _ = writeln!(out, "crypto ipsec security-association idle-time {seconds}");
        }
        let _ = writeln!(
            out,
            "crypto ipsec transform-set narrow esp-gcm\ncrypto ipsec transform-set wide esp-gcm 256"
        );
        for (seq, entry) in (1..).zip(&self.entries) {
            if self.dynamic {
                let _ = writeln!(out, "crypto dynamic-map anybody {seq}");
            } else {
                let _ = writeln!(out, "crypto map tohub {seq} ipsec-isakmp");
                entry.write_peers(out, sites);
            }
            entry.write(out, seq);
        }
        if self.dynamic {
            let _ = writeln!(out, "crypto map tohub 10 ipsec-isakmp dynamic anybody");
        }
        let _ = writeln!(out, "interface GigabitEthernet0/1\n device outside");
        if self.applied {
            let _ = writeln!(out, " crypto map tohub");
        }
        for (seq, entry) in (1..).zip(&self.entries) {
            for (ours, theirs) in &entry.permits {
                let _ = writeln!(
                    out,
                    "access-list {} permit ip 192.168.{ours}.0 0.0.0.255 192.168.{theirs}.0 0.0.0.255",
                    100 + seq
                );
            }
        }
        text
    }

    /// The configuration, parsed.
    ///
    /// # Errors
    /// A parse error, which is a defect of this module.
    pub fn configuration(&self, sites: &[Site]) -> Result<Configuration, String> {
        let loaded = config::file::parse(&self.name, &self.text(sites), &mut Offline);
        loaded.map(|loaded| loaded.configuration).map_err(|error| error.to_string())
    }

    /// The device of the interface that [`Site::text`] configures.
    pub fn devices(&self) -> Devices {
        let device = Device { ifindex: 3, mtu: 1500, addresses: vec![self.address.into()], up: true };
        InterfaceName::parse("GigabitEthernet0/1").map(|name| (name, device)).into_iter().collect()
    }

    /// Address as the rest of the simulation wants it.
    pub fn ip(&self) -> IpAddr {
        self.address.into()
    }

    /// Time from the last sign of life of a peer to the verdict in milliseconds, including a second
    /// for the scan.
    pub fn detection_ms(&self) -> Option<u64> {
        self.keepalive.map(|k| u64::from(k.interval + 6 * k.retry + 1) * 1000)
    }
}

impl Entry {
    fn write_peers(&self, out: &mut String, sites: &[Site]) {
        for (place, peer) in self.peers.iter().filter_map(|peer| sites.get(*peer)).enumerate() {
            let name =
                if self.by_name { format!("{} dynamic", dns_name(peer)) } else { peer.address.to_string() };
            let default = if place == 0 && self.default_first { " default" } else { "" };
            let _ = writeln!(out, " set peer {name}{default}");
        }
    }

    fn write(&self, out: &mut String, seq: u16) {
        if let Some((seconds, to_default)) = self.idle {
            let default = if to_default { " default" } else { "" };
            let _ = writeln!(out, " set security-association idle-time {seconds}{default}");
        }
        if let Some(seconds) = self.lifetime {
            let _ = writeln!(out, " set security-association lifetime seconds {seconds}");
        }
        if self.pfs {
            let _ = writeln!(out, " set pfs group19");
        }
        let set = if self.wide { "wide" } else { "narrow" };
        let _ = writeln!(out, " set transform-set {set}\n match address {}\n reverse-route", 100 + seq);
    }
}

/// Whether two sites can negotiate: each names the other, with the same key and algorithms.
pub fn compatible(sites: &[Site], a: usize, b: usize) -> bool {
    let toward = |from: usize, to: usize| {
        sites.get(from).filter(|site| site.applied)?.entries.iter().find(|entry| entry.peers.contains(&to))
    };
    match (toward(a, b), toward(b, a)) {
        (Some(ours), Some(theirs)) => {
            let mirrored = |entry: &Entry| -> Vec<(u8, u8)> {
                entry.permits.iter().map(|(near, far)| (*far, *near)).collect()
            };
            ours.key == theirs.key
                && ours.wide == theirs.wide
                && ours.pfs == theirs.pfs
                && mirrored(theirs) == ours.permits
        }
        _ => false,
    }
}
