//! A process ends and its successor continues from the checkpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

fn with_checkpoints() -> Network {
    let mut network = Network::with(1, |_, config, _| config.checkpoint = true);
    network.up();
    network
}

pub fn records(network: &mut Network, which: usize) -> BTreeMap<IkeId, Secret> {
    let mut records = BTreeMap::new();
    while let Some((ike, record)) = network.gateways[which].endpoint.poll_checkpoint() {
        match record {
            Some(record) => records.insert(ike, record),
            None => records.remove(&ike),
        };
    }
    records
}

/// Replaces the endpoint of a gateway by one that is restored from the records.
pub fn revive(
    network: &mut Network,
    which: usize,
    connection: Connection,
    records: &BTreeMap<IkeId, Secret>,
) {
    let spis = network.gateways[which].spis.clone();
    spis.0.lock().unwrap().clear();
    let config = EndpointConfig { checkpoint: true, ..EndpointConfig::default() };
    let random = Box::new(Seeded(network.rng.next()));
    let mut endpoint = Endpoint::new(config, random, Box::new(spis));
    endpoint.set_connection(connection);
    for record in records.values() {
        let restored = endpoint.restore(network.now, record.expose()).unwrap();
        assert!(restored.info.established);
        assert_eq!(endpoint.restore(network.now, record.expose()).unwrap_err(), RestoreError::Exists);
    }
    network.gateways[which].endpoint = endpoint;
    network.drain();
}

#[test]
fn a_restored_endpoint_goes_on_where_the_old_one_ended() {
    for which in [A, B] {
        let mut network = with_checkpoints();
        let records = records(&mut network, which);
        assert_eq!(records.len(), 1);
        revive(&mut network, which, connection(which), &records);
        for side in [A, B] {
            let child = network.child(side);
            network.command(side, Command::RekeyChild { child });
            network.run_checked(SECOND, Network::assert_traffic_flows);
            network.assert_converged();
            let ike = network.ike(side);
            network.command(side, Command::RekeyIke { ike });
            network.run_checked(SECOND, Network::assert_traffic_flows);
            network.assert_converged();
        }
    }
}

#[test]
fn a_request_in_flight_is_repeated_and_its_unfinished_child_closed() {
    let mut network = with_checkpoints();
    // a has asked for another child and dies before the answer comes.
    let ike = network.ike(A);
    network.command(A, Command::CreateChild { ike, child: ChildRequest::new(TAG) });
    let records = records(&mut network, A);
    network.run_for(Duration::from_millis(12));
    assert_eq!(network.gateways[B].children.len(), 2);
    revive(&mut network, A, connection(A), &records);
    network.run_for(SECOND);
    network.assert_converged();
    let child = network.child(B);
    network.command(B, Command::RekeyChild { child });
    network.run_for(SECOND);
    network.assert_converged();
}

/// RFC 7296 §2.1
#[test]
fn a_request_that_was_answered_before_the_end_is_answered_the_same_after_it() {
    let mut network = with_checkpoints();
    let child = network.child(B);
    let mut answers = 0;
    // a makes the new child and its answer is lost; then a dies.
    network.filter = Some(Box::new(move |datagram| {
        answers += u32::from(datagram.response);
        !datagram.response || answers > 1
    }));
    network.command(B, Command::RekeyChild { child });
    network.run_for(Duration::from_millis(15));
    assert_eq!(network.gateways[A].children.len(), 2);
    let records = records(&mut network, A);
    revive(&mut network, A, connection(A), &records);
    network.run_for(5 * SECOND);
    network.assert_converged();
}

#[test]
fn a_damaged_record_changes_nothing() {
    let mut network = with_checkpoints();
    let records = records(&mut network, A);
    let record = records.values().next().unwrap().expose().to_vec();
    let spis = WatchedSpis::default();
    let mut endpoint = Endpoint::new(EndpointConfig::default(), Box::new(Seeded(9)), Box::new(spis.clone()));
    assert_eq!(
        endpoint.restore(network.now, &record).unwrap_err(),
        RestoreError::UnknownConnection(ConnectionId(1))
    );
    endpoint.set_connection(connection(A));
    for length in 0..record.len() {
        assert!(endpoint.restore(network.now, &record[..length]).is_err());
    }
    let mut other = record.clone();
    other[0] = 99;
    assert_eq!(endpoint.restore(network.now, &other).unwrap_err(), RestoreError::Version(99));
    assert_eq!(endpoint.ike_sas().count(), 0);
    assert!(spis.0.lock().unwrap().is_empty());
    assert!(endpoint.restore(network.now, &record).is_ok());
}

#[test]
fn records_end_with_their_ike_sa() {
    let mut network = with_checkpoints();
    let ike = network.ike(A);
    assert_eq!(records(&mut network, A).len(), 1);
    network.command(A, Command::DeleteIke { ike, notify_peer: true });
    assert_eq!(network.gateways[A].endpoint.poll_checkpoint(), Some((ike, None)));
}
