//! Floods of IKE_SA_INIT requests: the resulting state must be bounded.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::{
    AddressMatch, Command, Connection, ConnectionId, Endpoint, EndpointConfig, RandomSpis, Secret, Tables,
    Time, Transmit,
};

use crate::random::Stream;

/// The source addresses of the flood and the gateway's countermeasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Forged addresses; the gateway demands cookies above a threshold.
    Cookies,
    /// Real addresses: each returns its cookie.
    Returned,
    /// A gateway without cookies: only the limits apply.
    Limits,
}

/// The result of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// The largest table sizes during the flood.
    pub most: Tables,
    /// The table sizes after the half-open lifetime.
    pub after: Tables,
    /// Growth of the process in KiB, from the 10 000th attempt to the end.
    pub grown_kib: i64,
    /// Octets sent in percent of octets received.
    pub amplification: u64,
    /// The configured limit.
    pub limit: usize,
}

/// Sends this many IKE_SA_INIT requests to one endpoint with real cryptography.
pub fn flood(kind: Kind, attempts: u64) -> Flood {
    let ours = SocketAddr::from(([192, 0, 2, 2], 500));
    let config = EndpointConfig {
        cookie_threshold: if kind == Kind::Limits { None } else { Some(256) },
        ..EndpointConfig::default()
    };
    let limit = config.half_open_limit;
    let mut endpoint = Endpoint::new(config, Box::new(Stream::new(1)), Box::<RandomSpis>::default());
    endpoint.set_connection(connection(ours.ip(), AddressMatch::Any));
    let mut message = first_message(ours);
    let mut now = Time::from_millis(1_000_000);
    let (mut most, mut received, mut sent, mut early) = (Tables::default(), 0, 0, 0);
    for attempt in 0..attempts {
        if attempt == 10_000 {
            early = resident_kib();
        }
        message[..8].copy_from_slice(&(attempt + 1).to_be_bytes());
        // A quarter of the IPv4 address space in pseudo-random order, so that the networks differ
        // too.
        let from = SocketAddr::from(((attempt as u32).wrapping_mul(0x9e37_79b1).to_be_bytes(), 500));
        received += message.len();
        endpoint.handle_datagram(now, from, ours, &message);
        sent += answers(&mut endpoint, |endpoint, answer| {
            if kind == Kind::Returned
                && let Some(again) = with_cookie(&message, &answer.bytes)
            {
                received += again.len();
                endpoint.handle_datagram(now, from, ours, &again);
            }
        });
        if attempt % 100 == 0 {
            now = now + Duration::from_millis(1);
            endpoint.handle_timeout(now);
            most = larger(most, endpoint.tables());
        }
    }
    let grown_kib = resident_kib() - early;
    let mut after = now;
    while after < now + Duration::from_secs(120) {
        after = after + Duration::from_secs(1);
        endpoint.handle_timeout(after);
    }
    while endpoint.poll_action().is_some() {}
    Flood {
        most,
        after: endpoint.tables(),
        grown_kib,
        amplification: (sent * 100 / received.max(1)) as u64,
        limit,
    }
}

/// Passes the endpoint's messages to `hear`; returns the number of octets sent.
fn answers(endpoint: &mut Endpoint, mut hear: impl FnMut(&mut Endpoint, &Transmit)) -> usize {
    let mut sent = 0;
    while let Some(answer) = endpoint.poll_transmit() {
        sent += answer.bytes.len();
        hear(endpoint, &answer);
    }
    while endpoint.poll_action().is_some() {}
    sent
}

fn connection(local: IpAddr, peers: AddressMatch) -> Connection {
    let mut connection = Connection::psk(ConnectionId(1), local, local, Secret::from("a pre-shared key"));
    connection.remote_addresses = vec![peers];
    connection
}

/// An IKE_SA_INIT request.
fn first_message(to: SocketAddr) -> Vec<u8> {
    let local = SocketAddr::from(([192, 0, 2, 1], 500));
    let mut initiator =
        Endpoint::new(EndpointConfig::default(), Box::new(Stream::new(2)), Box::<RandomSpis>::default());
    initiator.set_connection(connection(local.ip(), AddressMatch::Any));
    let initiate = Command::Initiate { connection: ConnectionId(1), child: None, local, remote: to };
    let begun = initiator.command(Time::ZERO, initiate);
    assert!(begun.is_ok(), "{begun:?}");
    initiator.poll_transmit().map(|transmit| transmit.bytes).unwrap_or_default()
}

/// The request with the cookie of the response in front (RFC 7296 §2.6); `None` if the response
/// demands none.
fn with_cookie(request: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    const NOTIFY: u8 = 41;
    const COOKIE: [u8; 2] = 16390u16.to_be_bytes();
    if answer.get(16) != Some(&NOTIFY) || answer.get(34..36) != Some(&COOKIE) {
        return None;
    }
    let mut cookie = answer.get(28..)?.to_vec();
    let (header, body) = request.split_at_checked(28)?;
    *cookie.first_mut()? = header[16];
    let mut again = [header, &cookie, body].concat();
    again[16] = NOTIFY;
    let length = u32::try_from(again.len()).ok()?.to_be_bytes();
    again.get_mut(24..28)?.copy_from_slice(&length);
    Some(again)
}

fn larger(a: Tables, b: Tables) -> Tables {
    Tables {
        ike_sas: a.ike_sas.max(b.ike_sas),
        half_open: a.half_open.max(b.half_open),
        sources: a.sources.max(b.sources),
        ike_spis: a.ike_spis.max(b.ike_spis),
        children: a.children.max(b.children),
        peers: a.peers.max(b.peers),
        deadlines: a.deadlines.max(b.deadlines),
        waiting: a.waiting.max(b.waiting),
    }
}

/// Resident memory of this process.
fn resident_kib() -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Flood {
    /// The violated bound, if any.
    pub fn violation(&self) -> Option<String> {
        let Flood { most, after, grown_kib, amplification, limit } = *self;
        if most.half_open > limit || most.ike_sas > limit || most.sources > limit || most.deadlines > limit {
            return Some(format!("more than {limit} half-open IKE SAs: {most:?}"));
        }
        if after != Tables::default() {
            return Some(format!("after the flood there is left {after:?}"));
        }
        // A half-open IKE SA stores both messages, nonces and a private key.
        if grown_kib > limit as i64 * 8 {
            return Some(format!("the process grew by {grown_kib} KiB"));
        }
        (amplification > 110).then(|| format!("{amplification} octets are sent for each 100 received"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_of_each_kind_are_bounded_and_forgotten() {
        for kind in [Kind::Cookies, Kind::Returned, Kind::Limits] {
            let flood = flood(kind, 20_000);
            assert_eq!(flood.violation(), None, "{kind:?}");
            let expected = if kind == Kind::Cookies { 256 } else { flood.limit };
            assert_eq!(flood.most.half_open, expected, "{kind:?}: the flood reached the bound");
        }
    }
}
