//! The fields of a packet that are compared with rules and selectors.

use sa_table::FiveTuple;
use sa_table::record::{PortRange, Selectors};
use std::net::IpAddr;
use wire::{IpSummary, Upper, protocol};

/// The fields of a packet that classification uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper protocol, if the packet shows it.
    pub protocol: Protocol,
    /// Ports, if the packet shows them.
    pub ports: Ports,
}

/// The upper protocol of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// This one.
    Known(u8),
    /// A later IPv6 fragment whose fragmentable part starts with an extension header: the protocol
    /// is in the first fragment only.
    Hidden,
}

/// The ports of a packet, native byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Source and destination port. For ICMP both hold type and code as `type << 8 | code`
    /// (RFC 4301 §4.4.1.1); protocols without ports have zeros.
    Known {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A later fragment or a truncated packet: the protocol has ports, but the packet does not show
    /// them.
    Hidden,
}

/// Result of comparing a packet with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It satisfies the condition.
    Yes,
    /// It does not.
    No,
    /// The packet does not contain the fields of the condition.
    Unknown,
}

impl Flow {
    /// The flow in the form of events; hidden fields are 0.
    pub fn five_tuple(&self) -> FiveTuple {
        let (source_port, destination_port) = match self.ports {
            Ports::Known { source, destination } => (source, destination),
            Ports::Hidden => (0, 0),
        };
        let protocol = match self.protocol {
            Protocol::Known(protocol) => protocol,
            Protocol::Hidden => 0,
        };
        FiveTuple {
            source: self.source,
            destination: self.destination,
            protocol,
            source_port,
            destination_port,
        }
    }

    /// Reads the flow of a parsed packet.
    #[inline]
    pub fn of(ip: &IpSummary) -> Flow {
        let extension = matches!(
            ip.protocol,
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
        );
        let hidden_protocol = extension && ip.fragment.is_later() && !ip.is_ipv4();
        Flow {
            source: ip.source,
            destination: ip.destination,
            protocol: if hidden_protocol { Protocol::Hidden } else { Protocol::Known(ip.protocol) },
            ports: match ip.upper {
                Upper::Ports { source, destination } => Ports::Known { source, destination },
                Upper::Icmp { kind, code } => {
                    let both = u16::from_be_bytes([kind, code]);
                    Ports::Known { source: both, destination: both }
                }
                Upper::Esp { .. } | Upper::Other => Ports::Known { source: 0, destination: 0 },
                Upper::LaterFragment | Upper::Truncated => Ports::Hidden,
            },
        }
    }

    /// The flow of packets in the reverse direction.
    #[must_use]
    pub fn mirrored(&self) -> Flow {
        Flow {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            ports: match self.ports {
                Ports::Known { source, destination } => {
                    Ports::Known { source: destination, destination: source }
                }
                Ports::Hidden => Ports::Hidden,
            },
        }
    }

    /// Compares protocol and ports with a condition; the caller compares the addresses.
    #[inline]
    pub(crate) fn fits(&self, protocol: Option<u8>, source: PortRange, destination: PortRange) -> Fit {
        let mut fit = Fit::Yes;
        match (protocol, self.protocol) {
            (None, _) => {}
            (Some(wanted), Protocol::Known(protocol)) if wanted == protocol => {}
            (Some(_), Protocol::Known(_)) => return Fit::No,
            (Some(_), Protocol::Hidden) => fit = Fit::Unknown,
        }
        match self.ports {
            Ports::Known { source: from, destination: to } => {
                if !(source.contains(from) && destination.contains(to)) {
                    return Fit::No;
                }
            }
            Ports::Hidden => {
                if source != PortRange::ANY || destination != PortRange::ANY {
                    fit = Fit::Unknown;
                }
            }
        }
        fit
    }

    /// Whether an SA with these selectors may carry the packet out. A packet that does not show the
    /// fields of a selector does not match it.
    #[inline]
    pub fn within_outbound(&self, selectors: &Selectors) -> bool {
        selectors.iter().any(|pair| {
            pair.local.addresses.contains(self.source)
                && pair.remote.addresses.contains(self.destination)
                && self.fits(pair.protocol, pair.local.ports, pair.remote.ports) == Fit::Yes
        })
    }

    /// Whether an SA with these selectors may have carried the packet in.
    #[inline]
    pub fn within_inbound(&self, selectors: &Selectors) -> bool {
        selectors.iter().any(|pair| {
            pair.local.addresses.contains(self.destination)
                && pair.remote.addresses.contains(self.source)
                && self.fits(pair.protocol, pair.remote.ports, pair.local.ports) == Fit::Yes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa_table::record::{AddressRange, SelectorPair, TrafficSelector};

    fn flow(ports: Ports) -> Flow {
        Flow {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.9.0.1".parse().unwrap(),
            protocol: Protocol::Known(6),
            ports,
        }
    }

    fn end(prefix: &str, ports: PortRange) -> TrafficSelector {
        TrafficSelector {
            addresses: AddressRange {
                first: format!("{prefix}.0").parse().unwrap(),
                last: format!("{prefix}.255").parse().unwrap(),
            },
            ports,
        }
    }

    #[test]
    fn a_packet_without_visible_ports_fits_only_selectors_without_ports() {
        let any = Selectors::single(SelectorPair {
            protocol: Some(6),
            local: end("10.0.0", PortRange::ANY),
            remote: end("10.9.0", PortRange::ANY),
        });
        let web = Selectors::single(SelectorPair {
            protocol: Some(6),
            local: end("10.0.0", PortRange::ANY),
            remote: end("10.9.0", PortRange::single(80)),
        });
        let visible = flow(Ports::Known { source: 4000, destination: 80 });
        assert!(visible.within_outbound(&any) && visible.within_outbound(&web));
        assert!(!visible.within_inbound(&any), "that is the other direction");
        assert!(visible.mirrored().within_inbound(&web));
        let hidden = flow(Ports::Hidden);
        assert!(hidden.within_outbound(&any));
        assert!(!hidden.within_outbound(&web));
    }

    #[test]
    fn a_hidden_protocol_fits_only_conditions_without_protocol() {
        let hidden = Flow { protocol: Protocol::Hidden, ..flow(Ports::Hidden) };
        assert_eq!(hidden.fits(None, PortRange::ANY, PortRange::ANY), Fit::Yes);
        assert_eq!(hidden.fits(Some(6), PortRange::ANY, PortRange::ANY), Fit::Unknown);
        assert_eq!(flow(Ports::Hidden).fits(Some(17), PortRange::ANY, PortRange::single(9)), Fit::No);
    }
}
