//! IKE messages and checkpoint records, one input each.

use ike::RestoreError;

use crate::peer::{
    CREATE_CHILD_SA, IKE_SA_INIT, INFORMATIONAL, PEER_SPI, Peer, endpoint, ours, plain, theirs,
};

/// A chain of payloads, once in clear as IKE_SA_INIT and once from an authenticated peer. Input:
/// the first payload's type, then the octets of the chain.
pub fn ike_message(data: &[u8]) {
    let Some((&first, chain)) = data.split_first() else { return };
    if chain.len() > 60_000 {
        return;
    }
    let mut fresh = Peer::new();
    fresh.deliver(&plain(IKE_SA_INIT, (PEER_SPI, 0), 0, first, chain));
    assert!(fresh.endpoint.tables().ike_sas <= 1);
    let mut peer = Peer::established();
    for exchange in [CREATE_CHILD_SA, INFORMATIONAL] {
        let message = peer.sealed(exchange, false, peer.next_request, first, chain);
        peer.deliver(&message);
        peer.check();
    }
    // Also as a separate datagram with an arbitrary header.
    peer.endpoint.handle_datagram(peer.now, theirs(), ours(), data);
    peer.settle();
    peer.check();
}

/// A record of an earlier process. It is restored completely or not at all.
pub fn ike_checkpoint(data: &[u8]) {
    let mut endpoint = endpoint();
    let now = ike::Time::from_millis(1_000_000);
    let restored = endpoint.restore(now, data);
    match &restored {
        Ok(restored) => {
            assert!(restored.info.established);
            assert_eq!(endpoint.restore(now, data).err(), Some(RestoreError::Exists));
        }
        Err(_) => assert_eq!(endpoint.tables(), ike::Tables::default(), "a refused record leaves nothing"),
    }
    while endpoint.poll_action().is_some() || endpoint.poll_transmit().is_some() {}
    // A restored IKE SA can be served and closed, whatever its content.
    for seconds in 1..200 {
        endpoint.handle_timeout(now + std::time::Duration::from_secs(seconds * 60));
        while endpoint.poll_action().is_some() || endpoint.poll_transmit().is_some() {}
    }
}
