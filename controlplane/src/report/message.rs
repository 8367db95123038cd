//! Messages of the control plane, in the form of IOS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sa_table::FiveTuple;

use crate::peers::select::Reason;

/// A log message with an IOS mnemonic. No message contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The cursor of an entry moved.
    PeerChange {
        /// `crypto map M S`.
        entry: String,
        /// The previous peer.
        old: String,
        /// The current peer.
        new: String,
        /// The reason.
        reason: Reason,
    },
    /// The first SA pair with a peer came up, or the last one went down (`crypto logging session`).
    SessionStatus {
        /// Up or down.
        up: bool,
        /// The peer.
        peer: SocketAddr,
        /// Its identity.
        id: String,
    },
    /// An IKE SA came up or went down (`crypto logging ikev2`).
    IkeSa {
        /// Up or down.
        up: bool,
        /// The peer, and for an ended SA the reason.
        detail: String,
    },
    /// An initiation or a child failed.
    NegotiationAborted {
        /// `crypto map M S`, or the peer when no entry is concerned.
        place: String,
        /// The peer.
        peer: String,
        /// The reason.
        reason: String,
    },
    /// Every peer of an entry failed once.
    Exhausted {
        /// `crypto map M S`.
        entry: String,
    },
    /// ESP with an unknown SPI (rate-limited).
    InvalidSpi {
        /// Destination address.
        destination: IpAddr,
        /// Its SPI.
        spi: u32,
        /// Source address.
        source: IpAddr,
    },
    /// A packet matched a filter line with `log` (rate-limited).
    FilterMatch {
        /// The access list.
        list: String,
        /// Whether it was permitted.
        permit: bool,
        /// The packet.
        flow: FiveTuple,
        /// The input interface, for `log-input`.
        interface: Option<String>,
    },
    /// The number of matches that were not logged.
    FilterMatchesWithheld(u16),
    /// IKE was enabled by the first or disabled by the last crypto map.
    IsakmpOnOff(bool),
    /// A session left configuration mode.
    Configured,
    /// Traffic that leaves in clear since a session left configuration mode, one text for each
    /// permit.
    Unprotected(Vec<String>),
    /// An error that the operator has to correct; the text names place and remedy.
    Trouble(String),
    /// A note about the configuration.
    Note(String),
}

impl Message {
    /// The IOS severity: 3 error … 6 informational.
    pub fn severity(&self) -> u8 {
        match self {
            Message::NegotiationAborted { .. } | Message::Trouble(_) => 3,
            Message::InvalidSpi { .. } | Message::Exhausted { .. } | Message::Unprotected(_) => 4,
            Message::PeerChange { .. }
            | Message::SessionStatus { .. }
            | Message::IkeSa { .. }
            | Message::Configured => 5,
            Message::FilterMatch { .. }
            | Message::FilterMatchesWithheld(_)
            | Message::IsakmpOnOff(_)
            | Message::Note(_) => 6,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up_down = |up: &bool| if *up { "UP" } else { "DOWN" };
        match self {
            Message::PeerChange { entry, old, new, reason } => {
                write!(f, "%CRYPTO-5-PEER_CHANGE: {entry}: current peer {old} -> {new} (reason {reason})")
            }
            Message::SessionStatus { up, peer, id } => write!(
                f,
                "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is {}.  Peer {}:{}  Id: {id}",
                up_down(up),
                peer.ip(),
                peer.port()
            ),
            Message::IkeSa { up, detail } => {
                write!(f, "%IKEV2-5-SA_{}: SA {} ({detail})", up_down(up), up_down(up))
            }
            Message::NegotiationAborted { place, peer, reason } => {
                write!(
                    f,
                    "%IKEV2-3-NEG_ABORT: Negotiation aborted due to ERROR: {reason} ({place}, peer {peer})"
                )
            }
            Message::Exhausted { entry } => {
                write!(f, "%CRYPTO-4-PEERS_EXHAUSTED: {entry}: every peer was tried once and none answered")
            }
            Message::InvalidSpi { destination, spi, source } => write!(
                f,
                "%CRYPTO-4-RECVD_PKT_INV_SPI: decaps: rec'd IPSEC packet has invalid spi for \
                 destaddr={destination}, prot=50, spi=0x{spi:X}({spi}), srcaddr={source}"
            ),
            Message::FilterMatch { list, permit, flow, interface } => {
                filter_match(f, list, *permit, flow, interface.as_deref())
            }
            Message::FilterMatchesWithheld(count) => {
                write!(f, "%SEC-6-IPACCESSLOGRL: access-list logging rate-limited or missed {count} packets")
            }
            Message::IsakmpOnOff(on) => {
                write!(f, "%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is {}", if *on { "ON" } else { "OFF" })
            }
            Message::Configured => write!(f, "%SYS-5-CONFIG_I: Configured from console by console"),
            Message::Unprotected(permits) => {
                write!(
                    f,
                    "%TOHUB-4-UNPROTECTED: No longer protected by the configuration: {}",
                    permits.join("; ")
                )
            }
            Message::Trouble(text) => write!(f, "%TOHUB-3-TROUBLE: {text}"),
            Message::Note(text) => write!(f, "%TOHUB-6-NOTE: {text}"),
        }
    }
}

/// The three forms of IOS: with ports, with ICMP type and code, with neither.
fn filter_match(
    f: &mut fmt::Formatter<'_>,
    list: &str,
    permit: bool,
    flow: &FiveTuple,
    interface: Option<&str>,
) -> fmt::Result {
    let action = if permit { "permitted" } else { "denied" };
    let FiveTuple { source, destination, protocol, source_port, destination_port } = flow;
    let interface = interface.map(|name| format!(" ({name})")).unwrap_or_default();
    match protocol {
        6 | 17 => {
            let name = if *protocol == 6 { "tcp" } else { "udp" };
            write!(
                f,
                "%SEC-6-IPACCESSLOGP: list {list} {action} {name} {source}({source_port}){interface} -> \
                 {destination}({destination_port}), 1 packet"
            )
        }
        1 => {
            let [kind, code] = source_port.to_be_bytes();
            write!(
                f,
                "%SEC-6-IPACCESSLOGDP: list {list} {action} icmp {source}{interface} -> {destination} ({kind}/{code}), 1 \
                 packet"
            )
        }
        other => write!(
            f,
            "%SEC-6-IPACCESSLOGNP: list {list} {action} {other} {source}{interface} -> {destination}, 1 packet"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_form_that_collectors_parse() {
        let change = Message::PeerChange {
            entry: "crypto map tohub 1".into(),
            old: "10.1.1.1".into(),
            new: "10.2.2.2".into(),
            reason: Reason::InitFail,
        };
        assert_eq!(
            change.to_string(),
            "%CRYPTO-5-PEER_CHANGE: crypto map tohub 1: current peer 10.1.1.1 -> 10.2.2.2 (reason init-fail)"
        );
        let status = Message::SessionStatus {
            up: false,
            peer: "10.1.1.1:500".parse().unwrap(),
            id: "10.1.1.1".into(),
        };
        assert_eq!(
            status.to_string(),
            "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is DOWN.  Peer 10.1.1.1:500  Id: 10.1.1.1"
        );
    }

    #[test]
    fn matches_of_filters_are_logged_as_ios_does() {
        let line = |protocol, permit, interface: Option<&str>| {
            let flow = FiveTuple {
                source: "1.2.3.4".parse().unwrap(),
                destination: "5.6.7.8".parse().unwrap(),
                protocol,
                source_port: 0x0800,
                destination_port: 80,
            };
            let interface = interface.map(str::to_owned);
            Message::FilterMatch { list: "120".into(), permit, flow, interface }.to_string()
        };
        assert_eq!(
            line(6, false, None),
            "%SEC-6-IPACCESSLOGP: list 120 denied tcp 1.2.3.4(2048) -> 5.6.7.8(80), 1 packet"
        );
        assert_eq!(
            line(17, true, Some("GigabitEthernet0/1")),
            "%SEC-6-IPACCESSLOGP: list 120 permitted udp 1.2.3.4(2048) (GigabitEthernet0/1) -> 5.6.7.8(80), 1 packet"
        );
        assert_eq!(
            line(1, false, None),
            "%SEC-6-IPACCESSLOGDP: list 120 denied icmp 1.2.3.4 -> 5.6.7.8 (8/0), 1 packet"
        );
        assert_eq!(
            line(47, false, None),
            "%SEC-6-IPACCESSLOGNP: list 120 denied 47 1.2.3.4 -> 5.6.7.8, 1 packet"
        );
    }
}
