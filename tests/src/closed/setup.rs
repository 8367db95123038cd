//! The configurations that events run on.

/// Pre-shared key of both ends.
const KEY: &str = "only-for-the-laboratory";

/// One configuration of the gateway, with the network that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setup {
    /// The crypto map on the only uplink; the peer does not answer.
    OneUplink,
    /// A second uplink without the map, and a default route through it behind the one through the
    /// first; `fail-close`.
    TwoUplinks,
    /// The same without `fail-close`.
    TwoUplinksOpen,
    /// One uplink, and a peer that answers.
    Tunnel,
    /// The gateway is the hub: a dynamic map with an access list; the branch initiates.
    DynamicMap,
    /// The same without an access list: the protected traffic is known once the branch has
    /// connected.
    DynamicMapAny,
    /// The uplink has this IOS name and a device line.
    Named(&'static str),
    /// The interface with the map has no device line, and no device has its name.
    NoDeviceLine,
    /// The map is on a TUN device, which has no packet path.
    MapOnTun,
    /// The uplink is a bridge with the wire as port.
    MapOnBridge,
}

/// The peer at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// No gateway: nothing answers.
    Absent,
    /// A gateway that answers.
    Answers,
    /// A gateway with a sending host behind it, so that it initiates.
    Initiates,
}

impl Setup {
    /// The peer at the other end.
    pub fn peer(self) -> Peer {
        match self {
            Self::Tunnel => Peer::Answers,
            Self::DynamicMap | Self::DynamicMapAny => Peer::Initiates,
            _ => Peer::Absent,
        }
    }

    /// Whether the gateway's kernel has a second default route.
    pub fn has_second_route(self) -> bool {
        matches!(self, Self::TwoUplinks | Self::TwoUplinksOpen)
    }

    /// Whether a permit of the configuration selects the host's packets before there is a tunnel.
    pub fn selects_before_the_tunnel(self) -> bool {
        self != Self::DynamicMapAny
    }

    /// Description for the page.
    pub fn describe(self) -> String {
        match self {
            Self::OneUplink => "one uplink with the map, no peer".to_owned(),
            Self::TwoUplinks => "two uplinks, the map on one, `fail-close`".to_owned(),
            Self::TwoUplinksOpen => "two uplinks, the map on one, without `fail-close`".to_owned(),
            Self::Tunnel => "one uplink, the tunnel is up".to_owned(),
            Self::DynamicMap => "hub with a dynamic map and an access list".to_owned(),
            Self::DynamicMapAny => "hub with a dynamic map without an access list".to_owned(),
            Self::Named(name) => format!("the uplink is `interface {name}` with a device line"),
            Self::NoDeviceLine => "the uplink has no device line".to_owned(),
            Self::MapOnTun => "the map on a TUN device".to_owned(),
            Self::MapOnBridge => "the map on a bridge over the uplink".to_owned(),
        }
    }

    /// The device that the map's interface names, if it names one.
    pub fn map_device(self) -> Option<&'static str> {
        match self {
            Self::NoDeviceLine => None,
            Self::MapOnTun => Some("tun7"),
            Self::MapOnBridge => Some("bridge7"),
            _ => Some("outside"),
        }
    }

    /// The gateway's configuration.
    pub fn configuration(self) -> String {
        let name = match self {
            Self::Named(name) => name,
            _ => "GigabitEthernet0/1",
        };
        let device = self.map_device().map(|device| format!(" device {device}\n")).unwrap_or_default();
        let fail_close = if self == Self::TwoUplinks { "crypto map tohub fail-close\n" } else { "" };
        let second_route =
            if self.has_second_route() { "ip route 0.0.0.0 0.0.0.0 198.51.100.2 200\n" } else { "" };
        let entry = match self {
            Self::DynamicMap | Self::DynamicMapAny => {
                let list = if self == Self::DynamicMap { " match address 101\n" } else { "" };
                format!(
                    "crypto dynamic-map branches 10
 set transform-set ts
{list} reverse-route
crypto map tohub 10 ipsec-isakmp dynamic branches
"
                )
            }
            _ => "crypto map tohub 1 ipsec-isakmp
 set peer 203.0.113.2
 set transform-set ts
 match address 101
"
            .to_owned(),
        };
        format!(
            "{}{entry}{fail_close}interface GigabitEthernet0/0
 device inside
 ip address 192.168.1.1 255.255.255.0
interface {name}
{device} ip address 192.0.2.1 255.255.255.0
 crypto map tohub
interface GigabitEthernet0/2
 device second
 ip address 198.51.100.1 255.255.255.0
ip route 0.0.0.0 0.0.0.0 192.0.2.2
ip route 10.2.0.0 255.255.0.0 192.0.2.2
{second_route}access-list 101 permit ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255
",
            common("gateway", "203.0.113.2")
        )
    }

    /// The peer's configuration.
    pub fn peer_configuration(self) -> String {
        format!(
            "{}crypto map tohub 1 ipsec-isakmp
 set peer 192.0.2.1
 set transform-set ts
 match address 101
interface GigabitEthernet0/0
 device inside
 ip address 10.2.0.1 255.255.0.0
interface GigabitEthernet0/1
 device outside
 ip address 203.0.113.2 255.255.255.0
 crypto map tohub
ip route 0.0.0.0 0.0.0.0 203.0.113.1
access-list 101 permit ip 10.2.0.0 0.0.255.255 192.168.1.0 0.0.0.255
",
            common("peer", "192.0.2.1")
        )
    }
}

fn common(hostname: &str, peer: &str) -> String {
    format!(
        "hostname {hostname}
crypto ike default-version 2
crypto ike give-up 10
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key {KEY} address {peer}
crypto isakmp keepalive 10 2 periodic
crypto ipsec transform-set ts esp-gcm
 mode tunnel
"
    )
}
