//! Random event sequences on a lossy network: the two ends always converge.

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a history for each seed and reports the seed that fails. `IKE_HISTORIES` asks for more,
/// `IKE_SEED` for one.
fn for_each_seed(history: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("IKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("IKE_HISTORIES").unwrap_or(100),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| history(seed)) {
            eprintln!("IKE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Requests that are repeated often enough not to be given up on a wire that loses half of all
/// round trips.
fn patient(_: usize, _: &mut EndpointConfig, connection: &mut Connection) {
    let patience =
        Retransmission { max_interval: 2 * SECOND, give_up: 100 * SECOND, ..Retransmission::default() };
    (connection.initiation, connection.established) = (patience, patience);
}

fn bad_wire(rng: &mut Seeded) -> Faults {
    Faults { loss_percent: rng.below(31), duplicate_percent: rng.below(31), jitter_ms: rng.below(800) }
}

#[test]
fn an_initiation_over_a_bad_wire_converges() {
    for_each_seed(|seed| {
        let mut network = Network::with(seed, patient);
        network.faults = bad_wire(&mut Seeded(seed));
        network.initiate(A);
        network.run_for(110 * SECOND);
        network.assert_converged();
    });
}

#[test]
fn random_rekeyings_over_a_bad_wire_converge_to_one_ike_sa_and_one_child() {
    for_each_seed(|seed| {
        let mut network = Network::with(seed, patient);
        network.up();
        let mut rng = Seeded(seed ^ 0xdead_beef);
        network.faults = bad_wire(&mut rng);
        for _ in 0..12 {
            let side = rng.below(2) as usize;
            let gateway = &network.gateways[side];
            let command = if rng.chance(40) {
                gateway.up.keys().next().map(|&ike| Command::RekeyIke { ike })
            } else if rng.chance(80) {
                gateway.children.keys().last().map(|&child| Command::RekeyChild { child })
            } else {
                let (interval, retries) = (3 * SECOND, 20);
                gateway.up.keys().next().map(|&ike| Command::Liveness { ike, interval, retries })
            };
            if let Some(command) = command {
                network.command(side, command);
            }
            network.run_checked(Duration::from_millis(rng.below(3000)), Network::assert_traffic_flows);
        }
        network.run_checked(200 * SECOND, Network::assert_traffic_flows);
        network.faults = CLEAN;
        network.run_for(200 * SECOND);
        network.assert_converged();
    });
}

#[test]
fn after_a_partition_a_session_that_initiates_again_converges() {
    for_each_seed(|seed| {
        let mut network = Network::with(seed, |_, _, connection| connection.initiation.give_up = 30 * SECOND);
        let mut rng = Seeded(seed ^ 0x5eed);
        network.faults = bad_wire(&mut rng);
        network.initiate(A);
        for round in 0..40 {
            network.partition = round < 20 && rng.chance(40);
            if round < 20 && rng.chance(10) {
                network.restart(rng.below(2) as usize);
            }
            // Behaviour of a control-plane session: initiate when there is nothing, probe when
            // there is.
            for side in [A, B] {
                let gateway = &network.gateways[side];
                let busy = gateway.endpoint.ike_sas().any(|info| info.initiator && !info.established);
                match gateway.up.keys().next() {
                    None if !busy && (side == A || rng.chance(30)) => {
                        network.initiate(side);
                    }
                    Some(&ike) => {
                        let child = ChildRequest::new(TAG);
                        if gateway.children.is_empty() && side == A {
                            network.command(side, Command::CreateChild { ike, child });
                        }
                        network.command(side, Command::Liveness { ike, interval: 2 * SECOND, retries: 5 });
                    }
                    None => {}
                }
            }
            network.run_for(Duration::from_millis(5000 + rng.below(10_000)));
            if round == 20 {
                network.faults = CLEAN;
            }
        }
        network.run_for(60 * SECOND);
        assert_single_session(&network);
    });
}

/// One IKE SA each, the same one; and every child of one side has its other half.
fn assert_single_session(network: &Network) {
    let [a, b] = [&network.gateways[A], &network.gateways[B]];
    let context = || format!("\na: {:?}\nb: {:?}", a.events, b.events);
    assert_eq!((a.up.len(), b.up.len()), (1, 1), "{}", context());
    assert_eq!(a.up.values().next().unwrap().local_spi, b.up.values().next().unwrap().remote_spi);
    assert!(!a.children.is_empty(), "{}", context());
    let pairs = |gateway: &Gateway, turn: bool| {
        let mut pairs: Vec<(u32, u32)> = gateway
            .children
            .values()
            .map(|child| {
                if turn {
                    (child.outbound.spi, child.inbound.spi)
                } else {
                    (child.inbound.spi, child.outbound.spi)
                }
            })
            .collect();
        pairs.sort_unstable();
        pairs
    };
    assert_eq!(pairs(a, false), pairs(b, true), "{}", context());
    for gateway in [a, b] {
        assert_eq!(gateway.spis.0.lock().unwrap().len(), gateway.children.len(), "leaked SPIs{}", context());
    }
}
