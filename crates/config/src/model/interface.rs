//! Interfaces, their addresses and static routes.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipsec_types::Prefix;

use super::AccessGroups;

/// The canonical name of an interface: an IOS name (`GigabitEthernet0/1`, `Serial1`) or an
/// unchanged Linux device name. Ordered by type, then by number, so that `…0/10` follows `…0/9`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

/// IOS interface types, longest first where one is a prefix of another.
const TYPES: [&str; 13] = [
    "TenGigabitEthernet",
    "TwentyFiveGigE",
    "FortyGigabitEthernet",
    "HundredGigE",
    "GigabitEthernet",
    "FastEthernet",
    "Ethernet",
    "Loopback",
    "Tunnel",
    "Serial",
    "Dialer",
    "Vlan",
    "Port-channel",
];

impl InterfaceName {
    /// Maximum length in bytes.
    pub const MAX: usize = 64;

    /// Parses `Gi0/1`, `gigabitethernet 0/1`, `serial1` or a Linux device name. An abbreviated type
    /// needs at least two letters (or one if it is unique) and a number; a Linux name in lower case
    /// (`eth0`, `tun1`) is not changed. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| *c != ' ').collect();
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
        if text.is_empty()
            || text.len() > Self::MAX
            || !text.chars().all(ok)
            || !text.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            return None;
        }
        let number_at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (kind, number) = text.split_at(number_at);
        let linux_style = matches!(kind, "eth" | "tun" | "lo" | "vlan") && !number.contains('/');
        let number_fits =
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || "/.:".contains(c));
        if linux_style || !number_fits {
            return Some(Self(text));
        }
        Some(match Self::ios_type(kind) {
            Some(full) => Self(format!("{full}{number}")),
            None => Self(text),
        })
    }

    /// The IOS type that `text` abbreviates, if it is unique.
    pub fn ios_type(text: &str) -> Option<&'static str> {
        let text = text.to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        let mut found = TYPES.iter().filter(|t| t.to_ascii_lowercase().starts_with(&text));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    /// The name in printed form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an interface of this type has a Linux device only if a `device` line names it.
    pub fn is_virtual(&self) -> bool {
        ["Loopback", "Tunnel", "Dialer"].iter().any(|kind| self.0.starts_with(kind)) || self.0 == "lo"
    }

    /// (type, numbers): the sort key.
    fn parts(&self) -> (&str, impl Iterator<Item = u64>) {
        let (kind, rest) = self.0.split_at(self.0.find(|c: char| c.is_ascii_digit()).unwrap_or(self.0.len()));
        (kind, rest.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()))
    }
}

impl Ord for InterfaceName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Fast path: most comparisons in map look-ups are of equal names.
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let ((kind, numbers), (other_kind, other_numbers)) = (self.parts(), other.parts());
        kind.cmp(other_kind).then_with(|| numbers.cmp(other_numbers)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for InterfaceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One address of an interface; the host bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's own address.
    pub address: IpAddr,
    /// Prefix length.
    pub length: u8,
    /// True for `secondary`.
    pub secondary: bool,
}

/// `interface X` and its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `device D`: the Linux interface; `None` means the interface's own name.
    pub device: Option<String>,
    /// `description …`.
    pub description: Option<String>,
    /// IPv4 addresses, the primary one first, then IPv6 addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// `ip address dhcp`: the address is the current one of the device.
    pub dhcp: bool,
    /// `shutdown`.
    pub shutdown: bool,
    /// `mtu N` in bytes.
    pub mtu: Option<u16>,
    /// `crypto map M`.
    pub crypto_map: Option<String>,
    /// `ip access-group`.
    pub access_groups: AccessGroups,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}

impl Interface {
    /// The Linux device of the interface.
    pub fn device_name<'a>(&'a self, name: &'a InterfaceName) -> &'a str {
        self.device.as_deref().unwrap_or(name.as_str())
    }
}

/// The next hop of a static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// A gateway.
    Address(IpAddr),
    /// An interface (directly connected).
    Interface(InterfaceName),
}

/// `ip route P M {A | interface} [metric]` or its IPv6 form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub prefix: Prefix,
    /// Gateway or interface.
    pub next_hop: NextHop,
    /// Administrative distance, default 1.
    pub distance: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        InterfaceName::parse(text).unwrap().to_string()
    }

    #[test]
    fn ios_names_are_completed_and_linux_names_stay() {
        assert_eq!(name("gi0/1"), "GigabitEthernet0/1");
        assert_eq!(name("GigabitEthernet 0/1.100"), "GigabitEthernet0/1.100");
        assert_eq!(name("serial1"), "Serial1");
        assert_eq!(name("te1/0/1"), "TenGigabitEthernet1/0/1");
        for linux in ["eth0", "tun1", "lo", "ens3f0", "veth-branch", "enp0s31f6", "br0"] {
            assert_eq!(name(linux), linux);
        }
        assert_eq!(InterfaceName::parse("e th;0"), None);
        assert_eq!(InterfaceName::parse(""), None);
    }

    #[test]
    fn interfaces_sort_by_number() {
        let mut names: Vec<_> =
            ["Gi0/10", "Gi0/9", "Ethernet1"].iter().map(|n| InterfaceName::parse(n).unwrap()).collect();
        names.sort();
        let text: Vec<_> = names.iter().map(InterfaceName::as_str).collect();
        assert_eq!(text, ["Ethernet1", "GigabitEthernet0/9", "GigabitEthernet0/10"]);
    }
}
