//! The devices of the gateway and what is at the other ends of their wires.

/// A device of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// Towards the host.
    Inside,
    /// The uplink with the map.
    Outside,
    /// The other uplink.
    Second,
}

impl Device {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Inside, Self::Outside, Self::Second];

    /// The name on Linux.
    pub fn name(self) -> &'static str {
        ["inside", "outside", "second"][self as usize]
    }

    /// The name in the configuration.
    pub fn ios_name(self) -> &'static str {
        ["GigabitEthernet0/0", "GigabitEthernet0/1", "GigabitEthernet0/2"][self as usize]
    }

    /// The name of the wire's far end.
    pub fn far_end(self) -> &'static str {
        ["eth0", "branch", "second"][self as usize]
    }

    /// Hardware address; stays the same when the device is created again.
    pub fn hardware_address(self) -> &'static str {
        ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"][self as usize]
    }

    /// IPv4 and IPv6 address of the gateway.
    pub fn addresses(self) -> [&'static str; 2] {
        [
            ["192.168.1.1/24", "fd00:1::1/64"],
            ["192.0.2.1/24", "fd00:c::1/64"],
            ["198.51.100.1/24", "fd00:d::1/64"],
        ][self as usize]
    }

    fn far_addresses(self) -> [&'static str; 2] {
        [
            ["192.168.1.10/24", "fd00:1::10/64"],
            ["192.0.2.2/24", "fd00:c::2/64"],
            ["198.51.100.2/24", "fd00:d::2/64"],
        ][self as usize]
    }

    /// Routes of the far end through this wire.
    fn far_routes(self) -> &'static [&'static str] {
        match self {
            Self::Inside => &["default via 192.168.1.1", "default via fd00:1::1"],
            Self::Outside => &["192.168.1.0/24 via 192.0.2.1", "fd00:1::/64 via fd00:c::1"],
            Self::Second => &[],
        }
    }

    /// Lines of `ip -batch` that give the gateway's end its addresses and bring it up.
    pub fn address_lines(self) -> Vec<String> {
        let name = self.name();
        self.addresses()
            .iter()
            // Without a link-local address the kernel does not resolve neighbours for forwarded
            // packets.
            .chain(&["fe80::1/64"])
            .map(|address| format!("address replace {address} dev {name} nodad"))
            .chain([format!("link set {name} up")])
            .collect()
    }

    /// Lines of `ip -batch` that give the far end its addresses and routes and bring it up.
    pub fn far_lines(self) -> Vec<String> {
        let name = self.far_end();
        let mut lines: Vec<String> = self
            .far_addresses()
            .iter()
            .chain(&["fe80::2/64"])
            .map(|address| format!("address replace {address} dev {name} nodad"))
            .collect();
        lines.push(format!("link set {name} up"));
        lines.extend(self.far_routes().iter().map(|route| format!("route replace {route}")));
        lines
    }
}
