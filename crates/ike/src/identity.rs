//! Identities of the peers (RFC 7296 §3.5) and which of them a connection accepts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::certificate;

/// An identification payload's content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN: a host name without a trailing dot, compared without regard to case.
    Fqdn(String),
    /// ID_RFC822_ADDR: an e-mail address.
    Email(String),
    /// ID_KEY_ID: opaque bytes.
    KeyId(Vec<u8>),
    /// ID_DER_ASN1_DN: a distinguished name, DER as received.
    Dn(Vec<u8>),
    /// A type this implementation does not interpret: (ID type, data).
    Other(u8, Vec<u8>),
}

impl Identity {
    /// ID type, RFC 7296 §3.5.
    pub fn id_type(&self) -> u8 {
        match self {
            Identity::Address(IpAddr::V4(_)) => 1,
            Identity::Fqdn(_) => 2,
            Identity::Email(_) => 3,
            Identity::Address(IpAddr::V6(_)) => 5,
            Identity::Dn(_) => 9,
            Identity::KeyId(_) => 11,
            Identity::Other(id_type, _) => *id_type,
        }
    }

    /// Identification data as on the wire, without the type.
    pub fn data(&self) -> Vec<u8> {
        match self {
            Identity::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Identity::Address(IpAddr::V6(address)) => address.octets().to_vec(),
            Identity::Fqdn(name) | Identity::Email(name) => name.as_bytes().to_vec(),
            Identity::KeyId(bytes) | Identity::Dn(bytes) | Identity::Other(_, bytes) => bytes.clone(),
        }
    }

    /// The identity that a payload of this type and data expresses. Data that does not fit its type
    /// (an IPv4 address of five bytes, a name that is not UTF-8) becomes [`Identity::Other`], which
    /// matches nothing but itself.
    pub fn from_wire(id_type: u8, data: &[u8]) -> Self {
        let text = || std::str::from_utf8(data).ok().map(str::to_owned);
        let parsed = match id_type {
            1 => {
                <[u8; 4]>::try_from(data).ok().map(|octets| Identity::Address(Ipv4Addr::from(octets).into()))
            }
            5 => {
                <[u8; 16]>::try_from(data).ok().map(|octets| Identity::Address(Ipv6Addr::from(octets).into()))
            }
            2 => text().map(Identity::Fqdn),
            3 => text().map(Identity::Email),
            9 => Some(Identity::Dn(data.to_vec())),
            11 => Some(Identity::KeyId(data.to_vec())),
            _ => None,
        };
        parsed.unwrap_or_else(|| Identity::Other(id_type, data.to_vec()))
    }

    /// The distinguished name of a text like `CN=gateway,O=Example` (RFC 4514); `None` if it does
    /// not parse.
    pub fn distinguished_name(text: &str) -> Option<Self> {
        certificate::parse(text).map(Identity::Dn)
    }

    /// Same identity: names without regard to case, distinguished names as RFC 5280 §7.1 compares
    /// them, everything else byte for byte.
    pub fn same_as(&self, other: &Identity) -> bool {
        match (self, other) {
            (Identity::Fqdn(a), Identity::Fqdn(b)) | (Identity::Email(a), Identity::Email(b)) => {
                a.eq_ignore_ascii_case(b)
            }
            (Identity::Dn(a), Identity::Dn(b)) => certificate::same_name(a, b),
            _ => self == other,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Identity::Address(address) => write!(f, "{address}"),
            // Received names may hold control characters; a log line must not.
            Identity::Fqdn(name) | Identity::Email(name) => write!(f, "{}", name.escape_debug()),
            Identity::KeyId(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write!(f, "key-id:{}", text.escape_debug()),
                Err(_) => f.write_str("key-id:0x").and_then(|()| hex(f, bytes)),
            },
            Identity::Dn(bytes) => match certificate::text(bytes) {
                Some(text) => f.write_str(&text),
                None => f.write_str("dn:0x").and_then(|()| hex(f, bytes)),
            },
            Identity::Other(id_type, bytes) => write!(f, "id-type-{id_type}:0x").and_then(|()| hex(f, bytes)),
        }
    }
}

/// Which identities of the peer a connection accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityMatch {
    /// Any identity; only the pre-shared key or certificate authenticates the peer.
    Any,
    /// Exactly this one.
    Exact(Identity),
    /// An address identity that lies in this prefix: (address, prefix length).
    Prefix(IpAddr, u8),
    /// A host name that ends in `.domain` or is `domain`.
    FqdnDomain(String),
    /// An e-mail address that ends in `@domain`.
    EmailDomain(String),
}

impl IdentityMatch {
    /// Is `identity` accepted?
    pub fn accepts(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (IdentityMatch::Any, _) => true,
            (IdentityMatch::Exact(wanted), _) => wanted.same_as(identity),
            (IdentityMatch::Prefix(network, length), Identity::Address(address)) => {
                prefix_contains(*network, *length, *address)
            }
            (IdentityMatch::FqdnDomain(domain), Identity::Fqdn(name)) => {
                name.eq_ignore_ascii_case(domain) || ends_with_label(name, '.', domain)
            }
            (IdentityMatch::EmailDomain(domain), Identity::Email(name)) => ends_with_label(name, '@', domain),
            _ => false,
        }
    }
}

/// Does `network`/`length` contain `address`? Different families never match; too long a length is
/// taken as the full one.
pub fn prefix_contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(length.into())).unwrap_or(0);
            (u32::from(network) ^ u32::from(address)) & mask == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(length.into())).unwrap_or(0);
            (u128::from(network) ^ u128::from(address)) & mask == 0
        }
        _ => false,
    }
}

fn ends_with_label(name: &str, separator: char, domain: &str) -> bool {
    name.len() > domain.len()
        && name.is_char_boundary(name.len() - domain.len())
        && name[name.len() - domain.len()..].eq_ignore_ascii_case(domain)
        && name[..name.len() - domain.len()].ends_with(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_round_trips() {
        let identities = [
            Identity::Address("192.0.2.1".parse().unwrap()),
            Identity::Address("2001:db8::1".parse().unwrap()),
            Identity::Fqdn("gw.example".into()),
            Identity::Email("a@gw.example".into()),
            Identity::KeyId(vec![0, 255]),
            Identity::Dn(vec![0x30, 0]),
        ];
        for identity in identities {
            assert_eq!(Identity::from_wire(identity.id_type(), &identity.data()), identity);
        }
    }

    #[test]
    fn data_that_does_not_fit_its_type_matches_no_address() {
        assert_eq!(Identity::from_wire(1, &[1, 2, 3, 4, 5]), Identity::Other(1, vec![1, 2, 3, 4, 5]));
        assert_eq!(Identity::from_wire(2, &[0xff]), Identity::Other(2, vec![0xff]));
    }

    #[test]
    fn matches_follow_their_kind() {
        let fqdn = |name: &str| Identity::Fqdn(name.into());
        let domain = IdentityMatch::FqdnDomain("example.net".into());
        assert!(domain.accepts(&fqdn("GW.Example.NET")));
        assert!(domain.accepts(&fqdn("example.net")));
        assert!(!domain.accepts(&fqdn("badexample.net")));
        assert!(!domain.accepts(&Identity::Email("gw.example.net".into())));
        assert!(IdentityMatch::EmailDomain("b".into()).accepts(&Identity::Email("a@b".into())));
        assert!(IdentityMatch::Exact(fqdn("A")).accepts(&fqdn("a")));
        let network = IdentityMatch::Prefix("10.1.0.0".parse().unwrap(), 16);
        assert!(network.accepts(&Identity::Address("10.1.2.3".parse().unwrap())));
        assert!(!network.accepts(&Identity::Address("10.2.2.3".parse().unwrap())));
        assert!(prefix_contains("0.0.0.0".parse().unwrap(), 0, "9.9.9.9".parse().unwrap()));
    }

    #[test]
    fn control_characters_are_escaped_when_printed() {
        assert_eq!(Identity::Fqdn("a\nb".into()).to_string(), "a\\nb");
    }
}
