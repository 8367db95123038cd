//! The two configurations that follow from a seed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::provider::Provider;
use ike::{
    AdditionalExchange, ChildLifetime, ChildPolicy, ChildTag, Connection, ConnectionId, Encryption,
    EndpointConfig, EspProposal, Group, Identity, IdentityMatch, IkeLifetime, IkeProposal, Mode, Ppk, Prf,
    Retransmission, Secret, TrafficSelector,
};

use super::gateway::Gateway;
use super::network::{A, B, Faults};
use super::session::Wishes;
use crate::random::Stream;

const ADDRESSES: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];
/// Key exchange groups that both backends support and that are fast.
const GROUPS: [Group; 3] = [Group::Ecp256, Group::Curve25519, Group::Ecp384];

/// The setup of a history.
pub struct Setup {
    /// a and b.
    pub gateways: [Gateway; 2],
    /// Their intended states.
    pub wishes: [Wishes; 2],
    /// The NAT in front of a.
    pub nat: Option<u16>,
    /// No cut, restart or clock jump: the children must carry traffic at all times.
    pub gentle: bool,
}

/// Draws the setup of a history.
pub fn setup(random: &Stream, provider: &'static Provider) -> Setup {
    let mut draw = random.fork(1);
    let gentle = draw.percent(30);
    let nat = draw.percent(30).then_some(30_000);
    let tags: Vec<ChildTag> = (1..=draw.range(1, 4)).map(ChildTag).collect();
    let short = draw.percent(50);
    let lifetimes = (short.then(|| draw.range(60, 600)), short.then(|| draw.range(40, 400)));
    let transport = draw.percent(15);
    let quantum = Quantum::draw(&mut random.fork(5));
    let mut shared = draw.fork(2);
    let gateways = [A, B].map(|own| {
        let address = SocketAddr::from((ADDRESSES[own], 500));
        let config = endpoint_config(&mut draw, provider);
        let mut connection = connection(own, &mut draw, &mut shared.clone());
        connection.children =
            tags.iter().map(|tag| child(own, *tag, &mut draw, lifetimes.1, transport)).collect();
        quantum.apply(own, &mut connection);
        if let Some(seconds) = lifetimes.0 {
            let rekey = Duration::from_secs(seconds);
            connection.lifetime =
                IkeLifetime { rekey: Some(rekey), jitter: rekey / 5, hard: Some(rekey * 3) };
        }
        // An end that pretends to be behind a NAT does not follow address changes of the peer (RFC
        // 7296 §2.23), so not both ends may do so.
        connection.force_udp_encapsulation = draw.percent(10) && (own == A || nat.is_none());
        (connection.initiation, connection.established) = if gentle {
            (patience(600), patience(600))
        } else {
            (patience(draw.range(20, 60)), patience(draw.range(20, 100)))
        };
        Gateway::new(["a", "b"][own], address, config, connection, random.fork(10 + own as u64))
    });
    shared.next();
    // An end behind a NAT cannot be reached first.
    let both = nat.is_none() && draw.percent(40);
    let probe = if gentle { 0 } else { 2_000 };
    let wishes = [
        Wishes { initiates: true, children: tags, probe },
        Wishes { initiates: both, children: vec![], probe },
    ];
    Setup { gateways, wishes, nat, gentle }
}

/// Measures against quantum computers: whether each end supports one, and whether it requires it.
struct Quantum {
    /// ML-KEM-768 as an additional key exchange (RFC 9370) of IKE SAs and of children with forward
    /// secrecy.
    exchange: Option<[bool; 2]>,
    /// A post-quantum pre-shared key (RFC 8784).
    ppk: Option<[bool; 2]>,
}

impl Quantum {
    fn draw(draw: &mut Stream) -> Self {
        let mut some = |percent| {
            let insist = [draw.percent(50), draw.percent(50)];
            draw.percent(percent).then_some(insist)
        };
        Quantum { exchange: some(25), ppk: some(20) }
    }

    fn apply(&self, own: usize, connection: &mut Connection) {
        if let Some(insist) = self.exchange {
            let additional =
                AdditionalExchange { number: 1, groups: vec![Group::MlKem768], optional: !insist[own] };
            for proposal in &mut connection.ike_proposals {
                proposal.additional = vec![additional.clone()];
            }
        }
        connection.ppk = self.ppk.map(|insist| Ppk {
            id: b"ppk".to_vec(),
            key: Secret::from("a post-quantum pre-shared key"),
            required: insist[own],
        });
    }
}

/// An unreliable network: loss and duplicates up to 30 %, reordering.
pub fn bad_wire(draw: &mut Stream) -> Faults {
    Faults { loss: draw.below(31), duplicates: draw.below(31), jitter: draw.below(800), cut: [false; 2] }
}

fn patience(seconds: u64) -> Retransmission {
    Retransmission {
        max_interval: Duration::from_secs(2),
        give_up: Duration::from_secs(seconds),
        ..Retransmission::default()
    }
}

fn endpoint_config(draw: &mut Stream, provider: &'static Provider) -> EndpointConfig {
    EndpointConfig {
        cookie_threshold: *draw.pick(&[None, Some(0), Some(256)]),
        fragment_size: *draw.pick(&[None, Some(300), Some(576), Some(1232)]),
        checkpoint: true,
        provider,
        ..EndpointConfig::default()
    }
}

fn connection(own: usize, draw: &mut Stream, shared: &mut Stream) -> Connection {
    let [local, remote] = [own, 1 - own].map(|which| IpAddr::from(ADDRESSES[which]));
    let mut connection = Connection::psk(ConnectionId(1), local, remote, Secret::from("a pre-shared key"));
    if shared.percent(50) {
        let name = |which: usize| Identity::Fqdn(["a.example", "b.example"][which].into());
        connection.local_identity = Some(name(own));
        connection.remote_identities = vec![IdentityMatch::Exact(name(1 - own))];
    }
    let mut groups = GROUPS.to_vec();
    draw.shuffle(&mut groups);
    let mut encryption = vec![Encryption::AesGcm256, Encryption::AesGcm128];
    draw.shuffle(&mut encryption);
    let prf = vec![Prf::HmacSha384, Prf::HmacSha256];
    let combined =
        IkeProposal { encryption, prf, groups: groups.clone(), ..IkeProposal::defaults()[0].clone() };
    let separate = IkeProposal { groups, ..IkeProposal::defaults()[1].clone() };
    connection.ike_proposals = vec![combined, separate];
    if draw.percent(30) {
        connection.ike_proposals.rotate_left(1);
    }
    connection
}

/// Child `tag` protects 10.1.tag/24 behind a and 10.2.tag/24 behind b.
fn child(own: usize, tag: ChildTag, draw: &mut Stream, soft: Option<u64>, transport: bool) -> ChildPolicy {
    let net = |side: usize| TrafficSelector::prefix(IpAddr::from([10, 1 + side as u8, tag.0 as u8, 0]), 24);
    let mut proposals = EspProposal::defaults();
    if draw.percent(50) {
        let mut groups = GROUPS.to_vec();
        draw.shuffle(&mut groups);
        proposals.iter_mut().for_each(|proposal| proposal.groups.clone_from(&groups));
    }
    let soft = soft.map(Duration::from_secs);
    ChildPolicy {
        tag,
        local_selectors: vec![net(own)],
        remote_selectors: vec![net(1 - own)],
        proposals,
        mode: if transport { Mode::Transport } else { Mode::Tunnel },
        transport_required: false,
        lifetime: soft.map_or_else(ChildLifetime::default, |soft| ChildLifetime {
            soft: Some(soft),
            jitter: soft / 5,
            hard: Some(soft * 3),
            rekey_on_soft: true,
        }),
    }
}
