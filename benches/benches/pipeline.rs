//! The packet path of one worker, in memory: receive ring → parse → classify → ESP → next hop →
//! transmit ring, both ways.
//!
//! Only the worker's round is timed. The in-memory kernel fills and empties the rings outside of
//! the measured time; inbound packets are sealed again by the peer for every round, so that each
//! passes the replay window.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark's entry points, which fail by panicking")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::lab::{Gateway, INSIDE, OUTSIDE, Site, Tunnel, connect, frame, packet};
use std::time::{Duration, Instant};

/// Packets in a round: a full burst of a worker.
const BURST: usize = 64;
const RING: u32 = 512;
/// Lengths of inner packets in octets.
const SIZES: [usize; 3] = [64, 512, 1400];

struct Pair {
    left: Gateway,
    right: Gateway,
    clear: Vec<Vec<u8>>,
}

impl Pair {
    /// Two gateways with a tunnel, and a burst of 64 flows of one packet.
    fn new(size: usize) -> Pair {
        let mut left = Gateway::new(Site::Left, 1, RING);
        let mut right = Gateway::new(Site::Right, 1, RING);
        connect(&mut left, &mut right, &Tunnel::default());
        let clear = (0..BURST)
            .map(|flow| {
                let (from, to) = (Site::Left.host(100 + flow as u8), Site::Right.host(2 + (flow % 8) as u8));
                frame(Site::Left, INSIDE, &packet(from, to, size))
            })
            .collect();
        left.run();
        right.run();
        Pair { left, right, clear }
    }

    /// The left gateway's round: clear packets in, ESP out. Returns its time and the sealed frames.
    fn seal(&mut self) -> (Duration, Vec<Vec<u8>>) {
        let time = round(&mut self.left, INSIDE, &self.clear);
        let sealed = self.left.sent(OUTSIDE);
        assert_eq!(sealed.len(), BURST);
        (time, sealed)
    }

    /// The right gateway's round: ESP in, clear packets out.
    fn open(&mut self, sealed: &[Vec<u8>]) -> Duration {
        let time = round(&mut self.right, OUTSIDE, sealed);
        assert_eq!(self.right.sent(INSIDE).len(), BURST);
        time
    }
}

fn round(gateway: &mut Gateway, port: u16, frames: &[Vec<u8>]) -> Duration {
    let wire = &mut gateway.wires[0][usize::from(port)];
    let delivered = wire.deliver_burst(frames.iter().map(Vec::as_slice));
    assert_eq!(delivered as usize, frames.len());
    let (worker, now_ms) = (&mut gateway.workers[0], gateway.now_ms);
    let start = Instant::now();
    worker.poll_once(now_ms);
    start.elapsed()
}

fn outbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline/outbound");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in SIZES {
        let mut pair = Pair::new(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| pair.seal().0).sum());
        });
    }
    group.finish();
}

fn inbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline/inbound");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in SIZES {
        let mut pair = Pair::new(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        let (_, sealed) = pair.seal();
                        pair.open(&sealed)
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, outbound, inbound);
criterion_main!(benches);
