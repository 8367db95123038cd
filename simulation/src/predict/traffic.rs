//! Traffic of the hosts behind the gateway, and its outages.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use config::Configuration;
use config::model::{AclAction, AclAddress, AclRule};
use sa_table::FiveTuple;

use super::events::parse_duration;
use super::{Kind, Moment, Outage, PredictError};
use crate::network::{Flow, ORIGIN};

/// Periodic packets, each of which the other end replies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The input, for messages.
    pub text: String,
    /// IP protocol.
    pub protocol: u8,
    /// Interval.
    pub every: Duration,
    /// Time of the first packet.
    pub from: Duration,
    /// End of the traffic.
    pub to: Duration,
    /// Source and destination; if absent, they follow from the first suitable permit of the
    /// configuration.
    pub addresses: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// Parses `icmp every 1s 0s..400s` with an optional `from A to B`.
///
/// # Errors
/// The reason why it is invalid.
pub fn parse_traffic(text: &str) -> Result<Traffic, PredictError> {
    let refuse = |reason: String| PredictError::Traffic { text: text.to_owned(), reason };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (head, rest) = words.split_at(words.len().min(4));
    let [protocol, "every", every, span] = head else {
        return Err(refuse("it is not of this form".to_owned()));
    };
    let protocol = match *protocol {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        other => return Err(refuse(format!("\"{other}\" is not icmp, tcp or udp"))),
    };
    let every = parse_duration(every).map_err(refuse)?;
    if every < Duration::from_millis(1) {
        return Err(refuse("at least 1ms must lie between two packets".to_owned()));
    }
    let (from, to) =
        span.split_once("..").ok_or_else(|| refuse(format!("\"{span}\" is no span like 0s..400s")))?;
    let (from, to) = (parse_duration(from).map_err(refuse)?, parse_duration(to).map_err(refuse)?);
    if to <= from {
        return Err(refuse("it ends before it begins".to_owned()));
    }
    if (to - from).as_millis() / every.as_millis() > 1_000_000 {
        return Err(refuse("these are more than a million packets; send less often".to_owned()));
    }
    let address =
        |word: &str| word.parse::<Ipv4Addr>().map_err(|_| refuse(format!("\"{word}\" is no IPv4 address")));
    let addresses = match rest {
        [] => None,
        ["from", source, "to", destination] => Some((address(source)?, address(destination)?)),
        _ => return Err(refuse("after the span only \"from A to B\" may follow".to_owned())),
    };
    Ok(Traffic { text: text.to_owned(), protocol, every, from, to, addresses })
}

impl Traffic {
    pub(super) fn moments(&self) -> [Moment; 2] {
        let moment = |at, text| Moment { at_ms: super::millis(at), kind: Kind::Event, text, why: None };
        [
            moment(self.from, format!("traffic begins: {}", self.text)),
            moment(self.to, "traffic ends".to_owned()),
        ]
    }

    /// A packet of this traffic: as given, or one that the first suitable permit of a crypto map
    /// protects.
    pub(super) fn tuple(&self, configuration: &Configuration) -> Result<FiveTuple, PredictError> {
        let icmp = self.protocol == 1;
        let tuple = |source, destination, ports: (u16, u16)| FiveTuple {
            source: IpAddr::V4(source),
            destination: IpAddr::V4(destination),
            protocol: self.protocol,
            source_port: if icmp { 8 << 8 } else { ports.0 },
            destination_port: if icmp { 0 } else { ports.1 },
        };
        if let Some((source, destination)) = self.addresses {
            return Ok(tuple(source, destination, (40_000, 7)));
        }
        let lists = configuration
            .crypto_maps
            .values()
            .flat_map(|set| set.entries.values())
            .filter(|entry| entry.is_complete());
        let lists =
            lists.filter_map(|entry| configuration.access_lists.get(entry.body.match_address.as_ref()?));
        let fits = |rule: &&AclRule| {
            rule.action == AclAction::Permit
                && rule.protocol.is_none_or(|protocol| protocol == self.protocol)
                && rule.icmp.is_none_or(|icmp| icmp.kind == 8)
        };
        let found = lists.flat_map(|list| list.rules().map(|(_, rule)| rule)).find(fits);
        let rule = found.ok_or_else(|| PredictError::Traffic {
            text: self.text.clone(),
            reason: "no crypto map entry permits this protocol, so that it would not be protected".to_owned(),
        })?;
        let port = |ports: Option<config::model::PortMatch>, otherwise| {
            ports.and_then(|ports| ports.ranges().first().map(|range| range.0)).unwrap_or(otherwise)
        };
        let ports = (port(rule.source_port, 40_000), port(rule.destination_port, 7));
        Ok(tuple(host(rule.source, [192, 0, 2, 10]), host(rule.destination, [198, 51, 100, 10]), ports))
    }
}

/// A host within the addresses of an access-list entry.
fn host(address: AclAddress, anywhere: [u8; 4]) -> Ipv4Addr {
    match address {
        AclAddress::Any => Ipv4Addr::from(anywhere),
        AclAddress::Host(host) => host,
        AclAddress::Wildcard(network, wildcard) => {
            Ipv4Addr::from(u32::from(network) | (u32::from(wildcard) & 10).max(u32::from(wildcard) & 1))
        }
    }
}

/// The outages of one flow: times without replies that are longer than a few packets and than the
/// first negotiation.
pub(super) fn outages(flow: &Flow, every: u64) -> Vec<Outage> {
    let tolerated = (3 * every).max(500);
    let mut outages = Vec::new();
    let (mut last_answer, mut begin, mut lost) = (None, 0, 0);
    for (sent, answer) in flow.journal.as_deref().unwrap_or_default() {
        let sent = sent.saturating_sub(ORIGIN);
        let Some(answer) = answer.map(|at| at.saturating_sub(ORIGIN)) else {
            if lost == 0 {
                // A pause of the sender is not an outage.
                let recent = |answer: &u64| sent.saturating_sub(*answer) <= 2 * every;
                begin = last_answer.filter(recent).unwrap_or(sent);
            }
            lost += 1;
            continue;
        };
        if lost > 0 && answer.saturating_sub(begin) > tolerated {
            outages.push(Outage { from_ms: begin, to_ms: Some(answer), lost });
        }
        (last_answer, lost) = (Some(answer), 0);
    }
    if lost > 0 {
        outages.push(Outage { from_ms: begin, to_ms: None, lost });
    }
    outages
}
