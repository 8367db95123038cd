//! The five-tuple of a packet that waits for an SA.

use core::net::IpAddr;

use crate::address::{address_from, put_address};
use crate::protocol::acquire::FLOW_WORDS;

/// Addresses, protocol and ports of a packet. Source and destination are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source port, native byte order; 0 for protocols without ports.
    pub source_port: u16,
    /// Destination port, native byte order; 0 for protocols without ports.
    pub destination_port: u16,
}

const SOURCE_V6: u64 = 1 << 8;
const DESTINATION_V6: u64 = 1 << 9;

impl FiveTuple {
    pub(crate) fn encode(&self) -> [u64; FLOW_WORDS] {
        let mut words = [0; FLOW_WORDS];
        put_address(&mut words, 0, self.source);
        put_address(&mut words, 2, self.destination);
        words[4] = u64::from(self.source_port) << 48
            | u64::from(self.destination_port) << 32
            | u64::from(self.protocol)
            | if self.source.is_ipv6() { SOURCE_V6 } else { 0 }
            | if self.destination.is_ipv6() { DESTINATION_V6 } else { 0 };
        words
    }

    pub(crate) fn decode(words: [u64; FLOW_WORDS]) -> Self {
        let [source_high, source_low, destination_high, destination_low, bits] = words;
        Self {
            source: address_from([source_high, source_low], bits & SOURCE_V6 != 0),
            destination: address_from([destination_high, destination_low], bits & DESTINATION_V6 != 0),
            protocol: bits as u8,
            source_port: (bits >> 48) as u16,
            destination_port: (bits >> 32) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_survives_as_words() {
        for (source, destination) in [("10.0.0.1", "192.0.2.9"), ("2001:db8::1", "2001:db8:ffff::2")] {
            let flow = FiveTuple {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                protocol: 17,
                source_port: 65535,
                destination_port: 1,
            };
            assert_eq!(FiveTuple::decode(flow.encode()), flow);
        }
    }
}
