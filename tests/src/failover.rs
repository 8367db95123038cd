//! The network of the fail-over tests: a branch, two or three hubs, an internet between them that
//! can be cut, and a host behind each side.
//!
//! ```text
//! host-a ── branch ── internet ──┬── hub1 (10.1.1.1) ──┬── LAN ── host-b
//! 192.168.1.10                   └── hub2 (10.2.2.2) ──┘          192.168.2.10
//! ```
//!
//! host-b's gateway is hub1. Each hub has a static route of lower preference to the branch's
//! network through another hub, and a preferred one (reverse-route) while it has the SA.

use crate::command::Result;
use crate::gateway::Gateway;
use crate::namespace::{Namespace, connect};

/// The port of the echo server on host-b.
pub const ECHO_PORT: u16 = 7000;
/// host-a's address.
pub const HOST_A: &str = "192.168.1.10";
/// host-b's address.
pub const HOST_B: &str = "192.168.2.10";

/// A hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hub {
    /// 10.1.1.1, the default peer.
    One,
    /// 10.2.2.2.
    Two,
    /// 10.3.3.3, where [`Options::hubs`] is 3.
    Three,
}

impl Hub {
    const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// Its address on the internet.
    pub fn address(self) -> &'static str {
        ["10.1.1.1", "10.2.2.2", "10.3.3.3"][self as usize]
    }

    /// The interface of the internet that leads to it; also its host name.
    pub fn wire(self) -> &'static str {
        ["hub1", "hub2", "hub3"][self as usize]
    }

    /// Its address on the LAN.
    pub fn inside(self) -> &'static str {
        ["192.168.2.1", "192.168.2.2", "192.168.2.3"][self as usize]
    }

    /// The router's address on the hub's wire.
    fn internet(self) -> &'static str {
        ["10.1.1.254", "10.2.2.254", "10.3.3.254"][self as usize]
    }

    /// The next hop of its static route of lower preference, so that hubs without SA forward
    /// packets to the one that has it.
    fn sister(self, hubs: usize) -> Self {
        Self::ALL[(self as usize + 1) % hubs]
    }
}

/// Parameters that the tests vary.
#[derive(Debug, Clone)]
pub struct Options {
    /// Divides every timer of the control planes.
    pub time_scale: u32,
    /// How many hubs there are, 2 or 3.
    pub hubs: usize,
    /// The branch's `set peer` lines.
    pub peers: String,
    /// Further lines of the branch's crypto map entry; the default is the specification's example
    /// with 60 s.
    pub entry: String,
    /// Global lines of the branch.
    pub globals: String,
    /// The operands of the branch's `crypto isakmp keepalive`.
    pub keepalive: String,
    /// Further lines of the hubs' crypto map entries.
    pub hub_entry: String,
    /// Time after which an initiation fails, in seconds.
    pub give_up: u32,
    /// The branch's and the hubs' pre-shared keys.
    pub keys: (String, String),
    /// Transform of the branch and of the hubs.
    pub transforms: (String, String),
}

impl Default for Options {
    fn default() -> Self {
        let key = "only-for-the-laboratory";
        Self {
            time_scale: 1,
            hubs: 2,
            peers: " set peer 10.1.1.1 default\n set peer 10.2.2.2\n".to_owned(),
            entry: " set security-association idle-time 60 default\n".to_owned(),
            globals: String::new(),
            keepalive: "10 2 periodic".to_owned(),
            hub_entry: String::new(),
            give_up: 10,
            keys: (key.to_owned(), key.to_owned()),
            transforms: ("esp-gcm".to_owned(), "esp-gcm".to_owned()),
        }
    }
}

/// The running network.
#[derive(Debug)]
pub struct Failover {
    // Gateways before wires: fields drop in order, so gateways are released first.
    /// The branch gateway.
    pub branch: Gateway,
    hubs: Vec<Gateway>,
    /// The host behind the branch.
    pub host_a: Namespace,
    /// The host behind the hubs.
    pub host_b: Namespace,
    /// The router in the middle, whose interfaces `branch`, `hub1`, `hub2` are the wires to watch.
    pub internet: Namespace,
    _lan: Namespace,
}

impl Failover {
    /// Makes the namespaces and wires and starts the gateways.
    pub fn start(options: &Options) -> Result<Self> {
        let hubs = &Hub::ALL[..options.hubs];
        let [host_a, branch, internet, lan, host_b] =
            ["host-a", "branch", "internet", "lan", "host-b"].map(Namespace::new);
        let (host_a, branch, internet, lan, host_b) = (host_a?, branch?, internet?, lan?, host_b?);

        internet.become_router()?;
        connect(&host_a, "eth0", &branch, "inside")?;
        connect(&branch, "outside", &internet, "branch")?;
        internet.address("branch", "10.9.9.1/24")?;

        lan.ip(&["link", "add", "lan", "type", "bridge"])?;
        lan.up("lan")?;
        let plug_into_lan = |station: &Namespace, interface: &str, port: &str| -> Result<()> {
            connect(station, interface, &lan, port)?;
            lan.ip(&["link", "set", port, "master", "lan", "up"]).map(drop)
        };
        plug_into_lan(&host_b, "eth0", "host-b")?;
        let mut hub_namespaces = Vec::new();
        for hub in hubs {
            let namespace = Namespace::new(hub.wire())?;
            connect(&namespace, "outside", &internet, hub.wire())?;
            internet.address(hub.wire(), &format!("{}/24", hub.internet()))?;
            plug_into_lan(&namespace, "inside", hub.wire())?;
            hub_namespaces.push(namespace);
        }
        internet.run("nft", &["add table ip lab"])?;
        internet.run("nft", &["add chain ip lab forward { type filter hook forward priority 0; }"])?;

        for (host, address, gateway) in
            [(&host_a, "192.168.1.10/24", "192.168.1.1"), (&host_b, "192.168.2.10/24", Hub::One.inside())]
        {
            host.address("eth0", address)?;
            host.end_host_offloads("eth0")?;
            host.route("default", gateway)?;
        }

        let hubs = std::iter::zip(hubs, hub_namespaces)
            .map(|(hub, namespace)| {
                Gateway::start(namespace, &hub_configuration(*hub, options), options.time_scale)
            })
            .collect::<Result<Vec<_>>>()?;
        let branch = Gateway::start(branch, &branch_configuration(options), options.time_scale)?;
        Ok(Self { branch, hubs, host_a, host_b, internet, _lan: lan })
    }

    /// Drops all packets between a hub and the internet, both ways.
    pub fn cut(&self, hub: Hub) -> Result<()> {
        for side in ["iifname", "oifname"] {
            self.internet.run("nft", &[&format!("add rule ip lab forward {side} {} drop", hub.wire())])?;
        }
        Ok(())
    }

    /// Drops this percentage of the packets that the internet forwards, at random.
    pub fn lose(&self, percent: u32) -> Result<()> {
        let rule = format!("add rule ip lab forward numgen random mod 100 < {percent} drop");
        self.internet.run("nft", &[&rule]).map(drop)
    }

    /// Removes all cuts and losses.
    pub fn heal(&self) -> Result<()> {
        self.internet.run("nft", &["flush chain ip lab forward"]).map(drop)
    }

    /// The gateway of a hub.
    pub fn hub(&self, hub: Hub) -> &Gateway {
        &self.hubs[hub as usize]
    }

    /// The branch's `Current peer`, if it has one.
    pub fn current_peer(&self) -> Option<String> {
        let text = self.branch.cli("show crypto map").ok()?;
        text.lines().find_map(|line| line.trim().strip_prefix("Current peer: ").map(str::to_owned))
    }

    /// Whether the branch has an IPsec SA with that hub.
    pub fn has_sa_with(&self, hub: Hub) -> bool {
        self.branch.cli("show crypto session").is_ok_and(|text| {
            let mut session = "";
            text.lines().any(|line| {
                if let Some(status) = line.strip_prefix("Session status: ") {
                    session = status.trim();
                }
                session.starts_with("UP-ACTIVE") && line.starts_with(&format!("Peer: {} ", hub.address()))
            })
        })
    }
}

/// The branch: the specification's own example.
pub fn branch_configuration(options: &Options) -> String {
    let Options {
        peers, entry, globals, keepalive, give_up, keys: (key, _), transforms: (transform, _), ..
    } = options;
    format!(
        "hostname branch
crypto ike default-version 2
crypto ike give-up {give_up}
crypto logging session
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key {key} address 10.1.1.1
crypto isakmp key {key} address 10.2.2.2
crypto isakmp key {key} address 10.3.3.3
crypto isakmp keepalive {keepalive}
{globals}crypto ipsec transform-set ts {transform}
 mode tunnel
crypto map tohub 1 ipsec-isakmp
{peers}{entry} set transform-set ts
 match address 101
interface GigabitEthernet0/0
 device inside
 ip address 192.168.1.1 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address 10.9.9.9 255.255.255.0
 crypto map tohub
ip route 0.0.0.0 0.0.0.0 10.9.9.1
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
"
    )
}

/// A hub: the mirrored configuration, with reverse-route and the static route of lower preference
/// through another hub.
pub fn hub_configuration(hub: Hub, options: &Options) -> String {
    let Options { give_up, hub_entry, keys: (_, key), transforms: (_, transform), .. } = options;
    let (name, outside, inside) = (hub.wire(), hub.address(), hub.inside());
    let (internet, sister) = (hub.internet(), hub.sister(options.hubs).inside());
    format!(
        "hostname {name}
crypto ike default-version 2
crypto ike give-up {give_up}
crypto logging session
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key {key} address 10.9.9.9
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts {transform}
 mode tunnel
crypto map tohub 1 ipsec-isakmp
 set peer 10.9.9.9
 set transform-set ts
 match address 101
 reverse-route
{hub_entry}interface GigabitEthernet0/0
 device inside
 ip address {inside} 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address {outside} 255.255.255.0
 crypto map tohub
ip route 0.0.0.0 0.0.0.0 {internet}
ip route 192.168.1.0 255.255.255.0 {sister} 250
access-list 101 permit ip 192.168.2.0 0.0.0.255 192.168.1.0 0.0.0.255
"
    )
}
