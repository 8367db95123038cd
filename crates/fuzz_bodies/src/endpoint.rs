//! The whole IKE endpoint: arbitrary messages of an authenticated peer and of unauthenticated
//! senders, at any time.

use std::time::Duration;

use ike::{ChildRequest, ChildTag, Command, ConnectionId, Tables};

use crate::peer::{CREATE_CHILD_SA, IKE_AUTH, IKE_SA_INIT, INFORMATIONAL, Peer, ours, theirs};

/// Input: records of [kind, length, octets]. Kinds: the peer's request, its answer, an
/// unauthenticated datagram, time, a command.
pub fn ike_endpoint(data: &[u8]) {
    let mut peer = Peer::established();
    let mut rest = data;
    for _ in 0..64 {
        let Some((&[kind, length], after)) = rest.split_first_chunk::<2>() else { break };
        let length = usize::from(length) * if kind & 0x80 == 0 { 1 } else { 8 };
        let (octets, after) = after.split_at(length.min(after.len()));
        rest = after;
        step(&mut peer, kind & 0x7f, octets);
        peer.check();
    }
    // Removing the connection clears all tables.
    peer.endpoint.remove_connection(peer.now, ConnectionId(1));
    peer.settle();
    assert_eq!(peer.installed, 0, "children of a connection that is gone");
    for _ in 0..200 {
        peer.now = peer.now + Duration::from_secs(1);
        peer.endpoint.handle_timeout(peer.now);
        peer.settle();
    }
    assert_eq!(peer.endpoint.tables(), Tables::default(), "something never goes");
}

fn step(peer: &mut Peer, kind: u8, octets: &[u8]) {
    match kind % 8 {
        0..=2 => {
            let Some((&first, chain)) = octets.split_first() else { return };
            let exchange = [CREATE_CHILD_SA, INFORMATIONAL, IKE_AUTH][usize::from(kind % 8)];
            let message = peer.sealed(exchange, false, peer.next_request, first, chain);
            peer.deliver(&message);
        }
        3 => {
            let Some((&first, chain)) = octets.split_first() else { return };
            if let Some((id, exchange)) = peer.awaited.take() {
                let message = peer.sealed(exchange, true, id, first, chain);
                peer.deliver(&message);
            }
        }
        4 | 5 => anybody(peer, octets, kind % 8 == 5),
        6 => {
            let milliseconds = octets.iter().fold(0, |sum: u64, octet| sum << 4 ^ u64::from(*octet));
            peer.now = peer.now + Duration::from_millis(milliseconds % 7_200_000);
            peer.endpoint.handle_timeout(peer.now);
            let next = peer.endpoint.poll_timeout();
            assert!(next.is_none_or(|at| at > peer.now), "a timer that stays due");
            peer.settle();
        }
        _ => order(peer, octets.first().copied().unwrap_or(0)),
    }
}

/// A datagram of a sender without keys; with `aimed` it has the SPIs of the real IKE SA.
fn anybody(peer: &mut Peer, octets: &[u8], aimed: bool) {
    let mut datagram = octets.to_vec();
    if aimed && datagram.len() >= 28 {
        datagram[..8].copy_from_slice(&crate::peer::PEER_SPI.to_be_bytes());
        datagram[8..16].copy_from_slice(&peer.spi.to_be_bytes());
        let length = (datagram.len() as u32).to_be_bytes();
        datagram[24..28].copy_from_slice(&length);
    }
    if datagram.ends_with(&crate::provider::MARK) {
        return;
    }
    let books = |peer: &Peer| {
        let sas: Vec<_> = peer
            .endpoint
            .ike_sas()
            .filter(|info| info.established)
            .map(|info| (info.ike, info.remote, info.children))
            .collect();
        (sas, peer.installed, peer.actions, peer.endpoint.tables().children)
    };
    // The answer to our own first message is not protected: it may change that initiation, which is
    // not checked here.
    let before = books(peer);
    let size = peer.endpoint.tables().ike_sas;
    peer.endpoint.handle_datagram(peer.now, theirs(), ours(), &datagram);
    peer.settle();
    let initiating = datagram.get(18) == Some(&IKE_SA_INIT);
    assert!(initiating || before == books(peer), "an unauthenticated datagram changed something");
    assert!(
        initiating || peer.endpoint.tables().ike_sas <= size,
        "an unauthenticated datagram made an IKE SA"
    );
}

fn order(peer: &mut Peer, which: u8) {
    let info = peer.endpoint.ike_sas().find(|info| info.established);
    let ike = info.as_ref().map(|info| info.ike);
    let child = info.as_ref().and_then(|info| info.children.last().copied());
    let (interval, retries) = (Duration::from_secs(1), 2);
    let request = ChildRequest::new(ChildTag(1));
    let command = match (which % 8, ike, child) {
        (0, _, Some(child)) => Command::RekeyChild { child },
        (1, Some(ike), _) => Command::RekeyIke { ike },
        (2, Some(ike), _) => Command::CreateChild { ike, child: request },
        (3, _, Some(child)) => Command::DeleteChild { child },
        (4, Some(ike), _) => Command::DeleteIke { ike, notify_peer: true },
        (5, Some(ike), _) => Command::Liveness { ike, interval, retries },
        (6, Some(ike), _) => Command::PeerAlive { ike },
        (7, ..) => {
            let (local, remote) = (ours(), theirs());
            Command::Initiate { connection: ConnectionId(1), child: Some(request), local, remote }
        }
        _ => return,
    };
    // Refused if the endpoint is full.
    let _ = peer.endpoint.command(peer.now, command);
    peer.settle();
}
