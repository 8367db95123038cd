//! An endpoint, and a peer that exchanges raw messages with it.

use std::net::SocketAddr;

use ike::{
    Action, ChildLifetime, ChildPolicy, ChildTag, Connection, ConnectionId, Endpoint, EndpointConfig,
    EspProposal, Mode, Random, RandomSpis, Secret, Time, TrafficSelector,
};

use crate::provider::{MARK, MARKED};

/// Exchange types.
pub const IKE_SA_INIT: u8 = 34;
/// See [`IKE_SA_INIT`].
pub const IKE_AUTH: u8 = 35;
/// See [`IKE_SA_INIT`].
pub const CREATE_CHILD_SA: u8 = 36;
/// See [`IKE_SA_INIT`].
pub const INFORMATIONAL: u8 = 37;
/// The encrypted payload.
const SK: u8 = 46;

/// The peer's SPI.
pub const PEER_SPI: u64 = 0x1122_3344_5566_7788;

/// Counts up: SPIs and nonces differ, runs repeat.
struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            let block = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// The endpoint's address.
pub fn ours() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 500))
}

/// The peer's address.
pub fn theirs() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 500))
}

/// An endpoint with one connection of one child, and few resources.
pub fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        provider: &MARKED,
        half_open_limit: 8,
        half_open_per_source: 8,
        max_ike_sas: 40,
        checkpoint: true,
        ..EndpointConfig::default()
    };
    let mut endpoint = Endpoint::new(config, Box::new(Counting(0)), Box::<RandomSpis>::default());
    let key = Secret::from("a key that nobody checks");
    let mut connection = Connection::psk(ConnectionId(1), ours().ip(), theirs().ip(), key);
    let any = TrafficSelector::prefix([0, 0, 0, 0].into(), 0);
    connection.children = vec![ChildPolicy {
        tag: ChildTag(1),
        local_selectors: vec![any],
        remote_selectors: vec![any],
        proposals: EspProposal::defaults(),
        mode: Mode::Transport,
        transport_required: false,
        lifetime: ChildLifetime::default(),
    }];
    endpoint.set_connection(connection);
    endpoint
}

/// The state visible on the wire and in the actions.
pub struct Peer {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The time.
    pub now: Time,
    /// The endpoint's SPI of the IKE SA in use.
    pub spi: u64,
    /// The next request of the peer.
    pub next_request: u32,
    /// The endpoint's unanswered request: (message ID, exchange).
    pub awaited: Option<(u32, u8)>,
    /// Children that are installed.
    pub installed: usize,
    /// Actions other than logs.
    pub actions: usize,
}

impl Peer {
    /// No message was exchanged yet.
    pub fn new() -> Self {
        Peer {
            endpoint: endpoint(),
            now: Time::from_millis(5),
            spi: 0,
            next_request: 0,
            awaited: None,
            installed: 0,
            actions: 0,
        }
    }

    /// The peer has established an IKE SA with one child.
    pub fn established() -> Self {
        let mut peer = Peer::new();
        let (first, chain) = init_payloads();
        peer.deliver(&plain(IKE_SA_INIT, (PEER_SPI, 0), 0, first, &chain));
        let (first, chain) = auth_payloads();
        let message = peer.sealed(IKE_AUTH, false, 1, first, &chain);
        peer.deliver(&message);
        assert_eq!(peer.installed, 1, "the peer of the harness is not accepted");
        peer
    }

    /// A message of the peer, protected with the mark.
    pub fn sealed(&self, exchange: u8, response: bool, id: u32, first: u8, payloads: &[u8]) -> Vec<u8> {
        let body = [&[0; 8][..], payloads, &[0], &MARK].concat();
        let length = u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
        let body = [&[first, 0, length[0], length[1]][..], &body].concat();
        let flags = 0x08 | u8::from(response) << 5;
        header((PEER_SPI, self.spi), SK, exchange, flags, id, &body)
    }

    /// Passes a datagram to the endpoint.
    pub fn deliver(&mut self, message: &[u8]) {
        self.endpoint.handle_datagram(self.now, theirs(), ours(), message);
        self.settle();
    }

    /// Processes the datagrams and actions of the endpoint.
    pub fn settle(&mut self) {
        while self.endpoint.poll_checkpoint().is_some() {}
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let Some(header) = transmit.bytes.first_chunk::<28>() else { continue };
            let id = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
            if header[19] & 0x20 == 0 {
                self.awaited = Some((id, header[18]));
                continue;
            }
            self.next_request = self.next_request.max(id.saturating_add(1));
            let spi = u64::from_be_bytes(*header[8..].first_chunk().unwrap_or(&[0; 8]));
            if header[18] == IKE_SA_INIT && spi != 0 && self.spi == 0 {
                self.spi = spi;
            }
        }
        while let Some(action) = self.endpoint.poll_action() {
            match action {
                Action::Log(_) => continue,
                Action::InstallChild(_) => self.installed += 1,
                Action::RemoveChild { .. } => self.installed -= 1,
                _ => {}
            }
            self.actions += 1;
        }
    }

    /// Checks that the tables agree and stay within their bounds, whatever was sent.
    pub fn check(&self) {
        let tables = self.endpoint.tables();
        let children: usize = self.endpoint.ike_sas().map(|info| info.children.len()).sum();
        assert_eq!(children, self.installed, "children reported and children held");
        assert_eq!(tables.ike_spis, tables.ike_sas, "each IKE SA has one SPI");
        assert!(tables.deadlines <= tables.ike_sas && tables.half_open <= 8, "{tables:?}");
        // A rekeying may temporarily double the number allowed by the limit.
        assert!(tables.ike_sas <= 2 * 40 + 2, "{tables:?}");
    }
}

impl Default for Peer {
    fn default() -> Self {
        Peer::new()
    }
}

/// A message without protection.
pub fn plain(exchange: u8, spis: (u64, u64), id: u32, first: u8, payloads: &[u8]) -> Vec<u8> {
    header(spis, first, exchange, 0x08, id, payloads)
}

fn header(spis: (u64, u64), first: u8, exchange: u8, flags: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(28 + body.len()).unwrap_or(u32::MAX);
    [
        &spis.0.to_be_bytes()[..],
        &spis.1.to_be_bytes(),
        &[first, 0x20, exchange, flags],
        &id.to_be_bytes(),
        &length.to_be_bytes(),
        body,
    ]
    .concat()
}

/// Payloads in a chain: (type of the first, octets).
pub fn chain(payloads: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let mut octets = Vec::new();
    for (index, (_, body)) in payloads.iter().enumerate() {
        let next = payloads.get(index + 1).map_or(0, |(kind, _)| *kind);
        let length = u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
        octets.extend([next, 0, length[0], length[1]]);
        octets.extend(body);
    }
    (payloads.first().map_or(0, |(kind, _)| *kind), octets)
}

/// SA (33), KE (34) and Ni (40) of an initiation with AES-GCM-256, HMAC-SHA2-256 and ECP-256.
pub fn init_payloads() -> (u8, Vec<u8>) {
    let sa = [
        &[0, 0, 0, 36, 1, 1, 0, 3][..],
        &[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0],
        &[3, 0, 0, 8, 2, 0, 0, 5],
        &[0, 0, 0, 8, 4, 0, 0, 19],
    ]
    .concat();
    chain(&[(33, sa), (34, [&[0, 19, 0, 0][..], &[4; 64]].concat()), (40, vec![1; 32])])
}

/// IDi (35), AUTH (39), SA (33), TSi (44) and TSr (45).
pub fn auth_payloads() -> (u8, Vec<u8>) {
    let auth = [&[2, 0, 0, 0][..], &[MARK[0]; 32]].concat();
    chain(&[
        (35, vec![1, 0, 0, 0, 192, 0, 2, 2]),
        (39, auth),
        (33, esp_proposal(0x1000)),
        (44, selector([192, 0, 2, 2])),
        (45, selector([192, 0, 2, 1])),
    ])
}

/// ESP with AES-GCM-256, without extended sequence numbers.
pub fn esp_proposal(spi: u32) -> Vec<u8> {
    [
        &[0, 0, 0, 32, 1, 3, 4, 2][..],
        &spi.to_be_bytes(),
        &[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0],
        &[0, 0, 0, 8, 5, 0, 0, 0],
    ]
    .concat()
}

/// One IPv4 host, every protocol and port.
pub fn selector(host: [u8; 4]) -> Vec<u8> {
    [&[1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0xff, 0xff][..], &host, &host].concat()
}
