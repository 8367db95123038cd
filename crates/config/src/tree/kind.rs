//! Kinds of operands: accepted values, help text, and position of the caret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::{DSCPS, ICMP_TYPES, PRECEDENCES, PROTOCOLS, TCP_PORTS, UDP_PORTS};
use crate::model::InterfaceName;

/// Maximum length of a name of a map, list, profile and so on.
const MAX_WORD: usize = 128;

/// What an operand may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number in an inclusive range.
    Number(u64, u64),
    /// Any word. Takes precedence over abbreviated keywords at the same position.
    Word,
    /// The rest of the line.
    Line,
    /// An IPv4 address.
    Ipv4,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An IPv6 address with a prefix length.
    Ipv6Prefix,
    /// An IP address or a host name.
    Host,
    /// A host name that is not an address.
    HostName,
    /// Number or name of an extended access list.
    AccessList,
    /// An interface.
    Interface,
    /// Hexadecimal digits.
    Hex,
    /// A number in a range, or a name from a table.
    Named(&'static [(&'static str, u64)], u64),
}

/// An operand after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Number`] and [`Kind::Named`].
    Number(u64),
    /// Of [`Kind::Word`], [`Kind::Line`], [`Kind::Hex`] and of a host name.
    Text(String),
    /// Of addresses.
    Address(IpAddr),
    /// Of [`Kind::Ipv6Prefix`], host bits kept.
    Prefix(Ipv6Addr, u8),
    /// Of [`Kind::Interface`].
    Interface(InterfaceName),
}

impl Kind {
    /// The kind with this name in the notation; `None` if unknown.
    pub(super) fn named(text: &str) -> Option<Self> {
        Some(match text {
            "WORD" => Self::Word,
            "LINE" => Self::Line,
            "A.B.C.D" => Self::Ipv4,
            "IP" => Self::Ip,
            "X:X/N" => Self::Ipv6Prefix,
            "HOST" => Self::Host,
            "HOST-NAME" => Self::HostName,
            "ACL" => Self::AccessList,
            "INTERFACE" => Self::Interface,
            "HEX" => Self::Hex,
            "PROTOCOL" => Self::Named(PROTOCOLS, 255),
            "TCP-PORT" => Self::Named(TCP_PORTS, 65_535),
            "UDP-PORT" => Self::Named(UDP_PORTS, 65_535),
            "ICMP-TYPE" => Self::Named(ICMP_TYPES, 255),
            "DSCP" => Self::Named(DSCPS, 63),
            "PRECEDENCE" => Self::Named(PRECEDENCES, 7),
            range => {
                let (low, high) = range.split_once('-')?;
                Self::Number(low.parse().ok()?, high.parse().ok()?)
            }
        })
    }

    /// The operand as `?` prints it.
    pub(super) fn placeholder(self) -> String {
        match self {
            Self::Number(low, high) => format!("<{low}-{high}>"),
            Self::Word => "WORD".into(),
            Self::Line => "LINE".into(),
            Self::Ipv4 => "A.B.C.D".into(),
            Self::Ip => "A.B.C.D or X:X:X:X::X".into(),
            Self::Ipv6Prefix => "X:X:X:X::X/<0-128>".into(),
            Self::Host => "Hostname or A.B.C.D".into(),
            Self::HostName => "Hostname".into(),
            Self::AccessList => "WORD or <100-199>".into(),
            Self::Interface => "INTERFACE".into(),
            Self::Hex => "Hex-data".into(),
            Self::Named(_, high) => format!("<0-{high}>"),
        }
    }

    /// Names that TAB and `?` offer in addition to numbers.
    pub(super) fn choices(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Named(table, _) => table,
            _ => &[],
        }
    }

    /// The value of `text`, or the number of leading characters that are valid.
    pub(super) fn parse(self, text: &str) -> Result<Value, usize> {
        match self {
            Self::Number(low, high) => number(text, low, high).map(Value::Number),
            Self::Word if text.len() <= MAX_WORD => Ok(Value::Text(text.into())),
            Self::Word => Err(MAX_WORD),
            Self::Line => Ok(Value::Text(text.into())),
            Self::Ipv4 => ipv4(text).map(|address| Value::Address(address.into())),
            Self::Ip => match text.parse::<Ipv6Addr>() {
                Ok(address) => Ok(Value::Address(address.into())),
                Err(_) if text.contains(':') => Err(0),
                Err(_) => ipv4(text).map(|address| Value::Address(address.into())),
            },
            Self::Ipv6Prefix => {
                let (address, length) = text.split_once('/').ok_or(text.chars().count())?;
                let length = number(length, 0, 128).map_err(|at| address.len() + 1 + at)?;
                let address = address.parse().map_err(|_| 0usize)?;
                Ok(Value::Prefix(address, length as u8))
            }
            Self::Host => host(text),
            Self::HostName => match host(text)? {
                Value::Address(_) => Err(0),
                name => Ok(name),
            },
            Self::AccessList => access_list(text),
            Self::Interface => InterfaceName::parse(text).map(Value::Interface).ok_or(0),
            Self::Hex => match text.find(|c: char| !c.is_ascii_hexdigit()) {
                None if text.len() <= 512 => Ok(Value::Text(text.into())),
                None => Err(512),
                Some(at) => Err(at),
            },
            Self::Named(table, high) => match unique_name(table, text) {
                Some(value) => Ok(Value::Number(value)),
                None => number(text, 0, high).map(Value::Number),
            },
        }
    }
}

fn number(text: &str, low: u64, high: u64) -> Result<u64, usize> {
    if let Some(at) = text.find(|c: char| !c.is_ascii_digit()) {
        return Err(at);
    }
    // As in IOS, an out-of-range number is an error at its first character.
    text.parse().ok().filter(|value| (low..=high).contains(value)).ok_or(0)
}

fn ipv4(text: &str) -> Result<Ipv4Addr, usize> {
    let mut at = 0;
    let mut octets = [0u8; 4];
    for (index, octet) in octets.iter_mut().enumerate() {
        let rest = text.get(at..).unwrap_or("");
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let value = rest.get(..digits).filter(|d| !d.is_empty() && d.len() <= 3).ok_or(at)?;
        *octet = value.parse().map_err(|_| at)?;
        at += digits;
        match (index, text.as_bytes().get(at)) {
            (0..=2, Some(b'.')) => at += 1,
            (3, None) => return Ok(Ipv4Addr::from(octets)),
            _ => return Err(at),
        }
    }
    Err(at)
}

/// An address, or a host name of letters, digits, dots and hyphens (RFC 1123). Text with only
/// digits and dots must be an address.
fn host(text: &str) -> Result<Value, usize> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Value::Address(address));
    }
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return ipv4(text).map(|address| Value::Address(address.into()));
    }
    let bad = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    match bad {
        Some(at) => Err(at),
        None if text.len() > 253 => Err(253),
        None if text.starts_with(['.', '-']) || text.split('.').any(|label| label.len() > 63) => Err(0),
        None => Ok(Value::Text(text.into())),
    }
}

/// `100`–`199`, `2000`–`2699`, or a name that begins with a letter.
fn access_list(text: &str) -> Result<Value, usize> {
    let numbered = number(text, 100, 199).or_else(|_| number(text, 2000, 2699)).is_ok();
    let named = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.len() <= MAX_WORD;
    if numbered || named { Ok(Value::Text(text.into())) } else { Err(0) }
}

/// The value of the name that `text` equals or abbreviates uniquely.
fn unique_name(table: &[(&str, u64)], text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    if let Some((_, value)) = table.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let mut found = table.iter().filter(|(name, _)| name.starts_with(&text));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_operand_says_where_it_goes_wrong() {
        let at = |kind: &str, text: &str| Kind::named(kind).unwrap().parse(text).unwrap_err();
        assert_eq!(at("A.B.C.D", "10.1.1.300"), 7);
        assert_eq!(at("A.B.C.D", "10.1.x.1"), 5);
        assert_eq!(at("A.B.C.D", "10.1.1"), 6);
        assert_eq!(at("A.B.C.D", "10.1.1.1.1"), 8);
        assert_eq!(at("60-86400", "59"), 0);
        assert_eq!(at("60-86400", "12x"), 2);
        assert_eq!(at("60-86400", "99999999999999999999999999"), 0);
        assert_eq!(at("HOST", "hub;1"), 3);
        assert_eq!(at("HEX", "00fg"), 3);
    }

    #[test]
    fn names_stand_for_numbers() {
        let port = Kind::named("TCP-PORT").unwrap();
        assert_eq!(port.parse("www"), Ok(Value::Number(80)));
        assert_eq!(port.parse("443"), Ok(Value::Number(443)));
        assert!(port.parse("65536").is_err());
        assert!(port.parse("p").is_err(), "pim-auto-rp, pop2 and pop3 all begin so");
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        assert_eq!(Kind::Host.parse("10.1.1.1"), Ok(Value::Address("10.1.1.1".parse().unwrap())));
        assert_eq!(Kind::Host.parse("2001:db8::1"), Ok(Value::Address("2001:db8::1".parse().unwrap())));
        assert_eq!(Kind::Host.parse("b.cisco.com"), Ok(Value::Text("b.cisco.com".into())));
        assert_eq!(Kind::Host.parse("10.1.1"), Err(6));
    }
}
