//! IKE in memory: full handshakes (IKE_SA_INIT, IKE_AUTH with the first child) between two
//! endpoints with real cryptography, for both roles and for each role by itself, rekeying, and the
//! octets that an idle IKE SA holds.
//!
//! One core; throughput counts handshakes. The memory is counted by the allocator, keys included.

use std::alloc::System;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ike::{
    Action, AddressMatch, ChildLifetime, ChildPolicy, ChildRequest, ChildTag, Command, Connection,
    ConnectionId, Encryption, Endpoint, EndpointConfig, EspProposal, Group, IkeId, IkeProposal, Mode, Prf,
    RandomSpis, Secret, SystemRandom, Time, TrafficSelector,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// IKE SAs between two endpoints when memory is counted.
const IDLE: usize = 1000;

const A: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(192, 0, 2, 1), 500));
const B: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(192, 0, 2, 2), 500));

struct Pair {
    ends: [Endpoint; 2],
    now: Time,
    /// Time that each end worked.
    spent: [Duration; 2],
    installed: usize,
}

impl Pair {
    fn new(group: Group) -> Self {
        let end = |local: SocketAddr, remote: SocketAddr| {
            let config = EndpointConfig {
                half_open_per_source: 1 << 20,
                half_open_limit: 1 << 20,
                cookie_threshold: None,
                ..EndpointConfig::default()
            };
            let random = Box::new(SystemRandom);
            let mut endpoint = Endpoint::new(config, random, Box::<RandomSpis>::default());
            endpoint.set_connection(connection(local, remote, group));
            endpoint
        };
        Pair {
            ends: [end(A, B), end(B, A)],
            now: Time::from_millis(1),
            spent: Default::default(),
            installed: 0,
        }
    }

    /// One handshake; the IKE SA of the initiator.
    fn handshake(&mut self) -> IkeId {
        let child = Some(ChildRequest::new(ChildTag(1)));
        let begin = Instant::now();
        let command = Command::Initiate { connection: ConnectionId(1), child, local: A, remote: B };
        let ike = match self.ends[0].command(self.now, command) {
            Ok(Some(ike)) => ike,
            other => panic!("no initiation: {other:?}"),
        };
        self.spent[0] += begin.elapsed();
        let before = self.installed;
        self.settle();
        assert_eq!(self.installed, before + 2, "the handshake did not end in a child at both ends");
        ike
    }

    fn settle(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (this, other) in [(0, 1), (1, 0)] {
                while let Some(transmit) = self.ends[this].poll_transmit() {
                    quiet = false;
                    let begin = Instant::now();
                    self.ends[other].handle_datagram(self.now, transmit.from, transmit.to, &transmit.bytes);
                    self.spent[other] += begin.elapsed();
                }
                while let Some(action) = self.ends[this].poll_action() {
                    self.installed += usize::from(matches!(action, Action::InstallChild(_)));
                }
            }
        }
    }

    /// Lets all lingering IKE SAs end.
    fn rest(&mut self) {
        for _ in 0..200 {
            self.now = self.now + Duration::from_secs(1);
            self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
            self.settle();
        }
    }
}

fn connection(local: SocketAddr, remote: SocketAddr, group: Group) -> Connection {
    let key = Secret::from("a-key-for-measurements");
    let mut connection = Connection::psk(ConnectionId(1), local.ip(), remote.ip(), key);
    connection.remote_addresses = vec![AddressMatch::exact(remote.ip())];
    connection.ike_proposals = vec![IkeProposal {
        encryption: vec![Encryption::AesGcm256],
        integrity: vec![],
        prf: vec![Prf::HmacSha256],
        groups: vec![group],
        ..IkeProposal::defaults()[0].clone()
    }];
    // Each IKE SA is treated as one of a further peer, not of the same peer after a restart.
    (connection.initial_contact, connection.close_duplicates) = (false, false);
    let any = TrafficSelector::prefix([10, 0, 0, 0].into(), 8);
    connection.children = vec![ChildPolicy {
        tag: ChildTag(1),
        local_selectors: vec![any],
        remote_selectors: vec![any],
        proposals: EspProposal::defaults(),
        mode: Mode::Tunnel,
        transport_required: false,
        lifetime: ChildLifetime::default(),
    }];
    connection
}

fn handshakes(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("ike/handshake");
    bench.throughput(Throughput::Elements(1));
    for (name, group) in [("x25519", Group::Curve25519), ("ecp256", Group::Ecp256)] {
        for (role, ends) in [("both", &[0, 1][..]), ("initiator", &[0]), ("responder", &[1])] {
            bench.bench_function(BenchmarkId::new(format!("psk-{name}"), role), |bencher| {
                bencher.iter_custom(|count| {
                    let mut total = Duration::ZERO;
                    // Repeated: a gateway with this number of IKE SAs.
                    for chunk in (0..count).step_by(256) {
                        let mut pair = Pair::new(group);
                        for _ in chunk..count.min(chunk + 256) {
                            pair.handshake();
                        }
                        total += ends.iter().map(|&end| pair.spent[end]).sum::<Duration>();
                    }
                    total
                });
            });
        }
    }
    bench.finish();
}

fn rekeying(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("ike/rekey");
    bench.throughput(Throughput::Elements(1));
    bench.bench_function("psk-x25519", |bencher| {
        let mut pair = Pair::new(Group::Curve25519);
        pair.handshake();
        bencher.iter(|| {
            let up = pair.ends[0].ike_sas().find(|info| info.established);
            let ike = up.map(|info| info.ike).unwrap_or(IkeId(0));
            let begun = pair.ends[0].command(pair.now, Command::RekeyIke { ike });
            assert!(begun.is_ok());
            pair.settle();
        });
    });
    bench.finish();
}

/// Prints the memory of an idle IKE SA with its child at one end, keys and indices included.
fn memory(_: &mut Criterion) {
    let mut pair = Pair::new(Group::Curve25519);
    pair.handshake();
    pair.rest();
    let region = Region::new(ALLOCATOR);
    for _ in 0..IDLE {
        pair.handshake();
    }
    let fresh = held(&region);
    pair.rest();
    let idle = held(&region);
    let each = |octets: usize| octets / (2 * IDLE);
    println!(
        "ike/memory: {} octets per idle IKE SA with one child ({} right after the handshake)",
        each(idle),
        each(fresh)
    );
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = handshakes, rekeying, memory
}
criterion_main!(benches);
