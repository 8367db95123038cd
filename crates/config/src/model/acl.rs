//! Extended access lists. In a crypto map, permit means protect, and deny means not protected by
//! this entry; in a filter (access group), permit means pass, and deny means drop.

use std::net::Ipv4Addr;

use super::Prefix;

/// `permit` or `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclAction {
    /// Protect by the entry that refers to the list; in a filter: pass.
    Permit,
    /// Not protected by this entry, continue with the next one; in a filter: drop.
    Deny,
}

/// A source or destination in normal form: host bits are cleared, and wildcard masks of all zeros
/// or all ones become `host` or `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclAddress {
    /// `any`.
    Any,
    /// `host A`.
    Host(Ipv4Addr),
    /// `A wildcard`; address bits that are set in the wildcard mask are ignored.
    Wildcard(Ipv4Addr, Ipv4Addr),
}

impl AclAddress {
    /// The normal form of an address and a wildcard mask.
    pub fn new(address: Ipv4Addr, wildcard: Ipv4Addr) -> Self {
        let bits = u32::from(wildcard);
        match bits {
            0 => Self::Host(address),
            u32::MAX => Self::Any,
            _ => Self::Wildcard(Ipv4Addr::from(u32::from(address) & !bits), wildcard),
        }
    }

    /// The equivalent prefix; `None` for a discontiguous wildcard mask.
    pub fn prefix(&self) -> Option<Prefix> {
        match *self {
            Self::Any => Some(Prefix::v4(Ipv4Addr::UNSPECIFIED, 0)),
            Self::Host(address) => Some(Prefix::v4(address, 32)),
            Self::Wildcard(address, wildcard) => Prefix::mask_length(Ipv4Addr::from(!u32::from(wildcard)))
                .map(|length| Prefix::v4(address, length)),
        }
    }
}

/// A port condition of tcp or udp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortMatch {
    /// `eq P`.
    Equal(u16),
    /// `neq P`.
    NotEqual(u16),
    /// `gt P`.
    Greater(u16),
    /// `lt P`.
    Less(u16),
    /// `range P1 P2`, first ≤ second.
    Range(u16, u16),
}

impl PortMatch {
    /// The equivalent inclusive ranges, at most two; empty if nothing matches.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        match *self {
            Self::Equal(p) => vec![(p, p)],
            Self::NotEqual(0) => vec![(1, u16::MAX)],
            Self::NotEqual(u16::MAX) => vec![(0, u16::MAX - 1)],
            Self::NotEqual(p) => vec![(0, p - 1), (p + 1, u16::MAX)],
            Self::Greater(u16::MAX) | Self::Less(0) => Vec::new(),
            Self::Greater(p) => vec![(p + 1, u16::MAX)],
            Self::Less(p) => vec![(0, p - 1)],
            Self::Range(first, last) => vec![(first, last)],
        }
    }
}

/// An ICMP type with an optional code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpType {
    /// ICMP type.
    pub kind: u8,
    /// ICMP code; any if absent.
    pub code: Option<u8>,
}

/// A condition on the type-of-service octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceMatch {
    /// `dscp D`, 0–63: the upper six bits (RFC 2474).
    Dscp(u8),
    /// `precedence P`, 0–7: the upper three bits (RFC 791).
    Precedence(u8),
}

/// The access lists that filter packets of an interface (`ip access-group`) or an entry
/// (`set ip access-group`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessGroups {
    /// `in`.
    pub inbound: Option<String>,
    /// `out`.
    pub outbound: Option<String>,
}

impl AccessGroups {
    /// List and direction, in printing order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let inbound = self.inbound.as_deref().map(|list| (list, "in"));
        inbound.into_iter().chain(self.outbound.as_deref().map(|list| (list, "out")))
    }
}

/// Options after the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AclOptions {
    /// `established`.
    pub established: bool,
    /// `dscp` or `precedence`.
    pub service: Option<ServiceMatch>,
    /// `fragments`.
    pub fragments: bool,
    /// `log`.
    pub log: bool,
    /// `log-input`.
    pub log_input: bool,
}

/// One permit or deny line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AclRule {
    /// Permit or deny.
    pub action: AclAction,
    /// IP protocol number; `None` is `ip`.
    pub protocol: Option<u8>,
    /// Source.
    pub source: AclAddress,
    /// Source port.
    pub source_port: Option<PortMatch>,
    /// Destination.
    pub destination: AclAddress,
    /// Destination port.
    pub destination_port: Option<PortMatch>,
    /// ICMP type for protocol 1.
    pub icmp: Option<IcmpType>,
    /// Options.
    pub options: AclOptions,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclLine {
    /// `remark …`, placed before the rule that it describes.
    Remark(String),
    /// A rule with its sequence number; numbers ascend within the list.
    Rule(u32, AclRule),
}

/// Where a rule was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// After all others.
    Last,
    /// Between others, or in place of one.
    Between,
}

/// An extended access list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Remarks and rules in order.
    pub lines: Vec<AclLine>,
}

impl AccessList {
    /// Rules with their sequence numbers, in order.
    pub fn rules(&self) -> impl Iterator<Item = (u32, &AclRule)> {
        self.lines.iter().filter_map(|line| match line {
            AclLine::Rule(sequence, rule) => Some((*sequence, rule)),
            AclLine::Remark(_) => None,
        })
    }

    fn last_sequence(&self) -> u32 {
        let of_rule = |line: &AclLine| match line {
            AclLine::Rule(sequence, _) => Some(*sequence),
            AclLine::Remark(_) => None,
        };
        self.lines.iter().rev().find_map(of_rule).unwrap_or(0)
    }

    /// The sequence number for the next rule without one; `None` if no number is left.
    pub fn next_sequence(&self) -> Option<u32> {
        let last = self.last_sequence();
        (last - last % 10).checked_add(10).filter(|n| *n <= i32::MAX as u32)
    }

    /// Whether the numbers are 10, 20, 30 …, in which case they are not printed.
    pub fn numbered_by_default(&self) -> bool {
        self.rules().zip(1u32..).all(|((sequence, _), n)| n.checked_mul(10) == Some(sequence))
    }

    /// Inserts a rule by its number; a rule with the same number is replaced, remarks stay before
    /// the rule that they describe.
    pub fn insert(&mut self, sequence: u32, rule: AclRule) -> Inserted {
        // The usual case, in constant time: a file may have a hundred thousand rules.
        if sequence > self.last_sequence() {
            self.lines.push(AclLine::Rule(sequence, rule));
            return Inserted::Last;
        }
        let same = |line: &AclLine| matches!(line, AclLine::Rule(s, _) if *s == sequence);
        if let Some(line) = self.lines.iter_mut().find(|line| same(line)) {
            *line = AclLine::Rule(sequence, rule);
            return Inserted::Between;
        }
        let later = self.lines.iter().position(|line| matches!(line, AclLine::Rule(s, _) if *s > sequence));
        let at = later.map_or(self.lines.len(), |mut at| {
            while at > 0 && matches!(self.lines[at - 1], AclLine::Remark(_)) {
                at -= 1;
            }
            at
        });
        self.lines.insert(at, AclLine::Rule(sequence, rule));
        Inserted::Between
    }

    /// Renumbers the rules (`ip access-list resequence`); returns `false` without a change if the
    /// numbers would exceed the range.
    pub fn resequence(&mut self, start: u32, step: u32) -> bool {
        let count = self.rules().count() as u64;
        let last = u64::from(start) + u64::from(step) * count.saturating_sub(1);
        if last > i32::MAX as u64 {
            return false;
        }
        let mut next = start;
        for line in &mut self.lines {
            if let AclLine::Rule(sequence, _) = line {
                *sequence = next;
                next = next.saturating_add(step);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> AclRule {
        AclRule {
            action: AclAction::Permit,
            protocol: None,
            source: AclAddress::Any,
            source_port: None,
            destination: AclAddress::Any,
            destination_port: None,
            icmp: None,
            options: AclOptions::default(),
        }
    }

    #[test]
    fn addresses_take_their_normal_form() {
        let a = |address: &str, wildcard: &str| {
            AclAddress::new(address.parse().unwrap(), wildcard.parse().unwrap())
        };
        assert_eq!(a("192.168.1.5", "0.0.0.255"), a("192.168.1.0", "0.0.0.255"));
        assert_eq!(a("192.168.1.5", "0.0.0.0"), AclAddress::Host("192.168.1.5".parse().unwrap()));
        assert_eq!(a("192.168.1.5", "255.255.255.255"), AclAddress::Any);
        assert_eq!(a("10.0.0.0", "0.255.255.255").prefix().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(a("10.0.0.0", "0.255.0.255").prefix(), None);
    }

    #[test]
    fn port_conditions_become_ranges() {
        assert_eq!(PortMatch::NotEqual(80).ranges(), [(0, 79), (81, 65535)]);
        assert_eq!(PortMatch::Less(0).ranges(), []);
        assert_eq!(PortMatch::Greater(1023).ranges(), [(1024, 65535)]);
    }

    #[test]
    fn rules_are_kept_by_number_and_remarks_stay_with_their_rule() {
        let mut list = AccessList::default();
        list.insert(10, rule());
        list.lines.push(AclLine::Remark("branch".into()));
        list.insert(20, rule());
        list.insert(15, rule());
        let numbers: Vec<_> = list.rules().map(|(n, _)| n).collect();
        assert_eq!(numbers, [10, 15, 20]);
        assert_eq!(list.lines[2], AclLine::Remark("branch".into()));
        assert!(!list.numbered_by_default());
        assert!(list.resequence(10, 10));
        assert!(list.numbered_by_default());
        assert_eq!(list.next_sequence(), Some(40));
        assert!(!list.resequence(i32::MAX as u32, 10));
    }
}
