//! Filters (IOS access groups): which packets pass a port, and which into and out of tunnels. IPv4
//! only.

use crate::events::Direction;
use crate::ids::PolicyId;
use crate::record::PortRange;

/// The longest name of an access list in octets.
pub const MAX_FILTER_NAME: usize = 128;

/// A number that is compared in some of its bits only. The mask may be non-contiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Masked<T> {
    /// The required value of the bits.
    pub value: T,
    /// The bits that are compared.
    pub mask: T,
}

impl Masked<u32> {
    /// Whether an address matches.
    #[inline]
    pub const fn accepts(self, address: u32) -> bool {
        (address ^ self.value) & self.mask == 0
    }
}

impl Masked<u8> {
    /// Whether an octet matches.
    #[inline]
    pub const fn accepts(self, octet: u8) -> bool {
        (octet ^ self.value) & self.mask == 0
    }
}

/// A condition on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortCondition {
    /// The ports.
    pub range: PortRange,
    /// All ports but these.
    pub inverted: bool,
}

impl PortCondition {
    /// No condition.
    pub const ANY: Self = Self { range: PortRange::ANY, inverted: false };

    /// Whether a port satisfies it.
    #[inline]
    pub const fn accepts(self, port: u16) -> bool {
        self.range.contains(port) != self.inverted
    }
}

/// A condition on an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpCondition {
    /// The type.
    pub kind: u8,
    /// The code, `None` for any.
    pub code: Option<u8>,
}

/// How a match is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterLog {
    /// With the packet's flow (`log`).
    Flow,
    /// With the ingress port too (`log-input`).
    FlowAndPort,
}

/// One line of a filter; the first that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterRule {
    /// Its number in the access list.
    pub sequence: u32,
    /// Whether a matching packet is permitted.
    pub permit: bool,
    /// IP protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source addresses, as numbers.
    pub source: Masked<u32>,
    /// Destination addresses, as numbers.
    pub destination: Masked<u32>,
    /// Source ports.
    pub source_ports: PortCondition,
    /// Destination ports.
    pub destination_ports: PortCondition,
    /// ICMP type and code.
    pub icmp: Option<IcmpCondition>,
    /// Only TCP segments with ACK or RST.
    pub established: bool,
    /// Only fragments other than the first.
    pub fragments: bool,
    /// Bits of the type-of-service octet (`dscp`, `precedence`).
    pub service: Masked<u8>,
    /// Whether and how a match is logged.
    pub log: Option<FilterLog>,
}

impl FilterRule {
    /// A line that permits everything.
    pub const PERMIT_ANY: Self = Self {
        sequence: 10,
        permit: true,
        protocol: None,
        source: Masked { value: 0, mask: 0 },
        destination: Masked { value: 0, mask: 0 },
        source_ports: PortCondition::ANY,
        destination_ports: PortCondition::ANY,
        icmp: None,
        established: false,
        fragments: false,
        service: Masked { value: 0, mask: 0 },
        log: None,
    };
}

/// An access list as a filter. A packet that matches no line is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterList {
    /// The name, at most [`MAX_FILTER_NAME`] octets.
    pub name: String,
    /// The lines in order.
    pub rules: Vec<FilterRule>,
}

/// What a filter is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterPoint {
    /// Packets as they pass the port whose record has this number.
    Port(u16),
    /// Packets in the clear form of the SAs of this policy.
    Policy(PolicyId),
}

/// A filter bound to a point and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterBinding {
    /// The point.
    pub point: FilterPoint,
    /// Packets that arrive (inbound) or leave (outbound).
    pub direction: Direction,
    /// Index of the list.
    pub list: u32,
}

/// All filters of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// The lists.
    pub lists: Vec<FilterList>,
    /// Their bindings.
    pub bindings: Vec<FilterBinding>,
}

impl Filters {
    /// The ports with a filter, by the number of their record, and its direction.
    pub fn of_ports(&self) -> impl Iterator<Item = (u16, Direction)> {
        self.bindings.iter().filter_map(|binding| match binding.point {
            FilterPoint::Port(port) => Some((port, binding.direction)),
            FilterPoint::Policy(_) => None,
        })
    }
}
