//! ESP tunnel mode in memory: bursts of 32 sealed and opened in place, outer header, sequence
//! number and replay window included, for every backend that works on this CPU. Throughput counts
//! packets.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esp::{
    AeadBackend, BURST, EspAlgorithm, Hmac, InboundParameters, InboundSa, LocalReplayStore, MAX_HEADROOM,
    MAX_TAILROOM, Mode, OpenJob, OutboundParameters, OutboundSa, OuterParameters, SealJob, Sealed,
    SequenceCounter, SequenceSource,
};

/// Lengths of the inner IP packet in bytes.
const SIZES: [usize; 3] = [64, 512, 1400];
/// SAs taken in turn where many are measured.
const MANY: usize = 1024;

const ALGORITHM: EspAlgorithm = EspAlgorithm::AesGcm128;

/// What else is measured, one SA and the preferred backend.
const ALGORITHMS: [(&str, EspAlgorithm); 6] = [
    ("aes-128-gcm", EspAlgorithm::AesGcm128),
    ("chacha20-poly1305", EspAlgorithm::ChaCha20Poly1305),
    ("aes-128-cbc-sha256", EspAlgorithm::AesCbc128(Hmac::Sha256_128)),
    ("aes-256-cbc-sha512", EspAlgorithm::AesCbc256(Hmac::Sha512_256)),
    ("null-sha1", EspAlgorithm::Null(Hmac::Sha1_96)),
    ("aes-128-gmac", EspAlgorithm::AesGmac128),
];

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("esp/seal");
    group.throughput(Throughput::Elements(BURST as u64));
    for backend in AeadBackend::available() {
        let sas = [outbound(backend, 0)];
        for size in SIZES {
            group.bench_function(BenchmarkId::new(backend.name(), size), |bencher| {
                let mut sender = Sender::new(size, 1);
                bencher.iter(|| sender.seal(backend, &sas));
            });
        }
    }
    group.finish();
}

fn seal_many(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("esp/seal-1024-sas");
    group.throughput(Throughput::Elements(BURST as u64));
    for backend in AeadBackend::available() {
        let sas: Vec<_> = (0..MANY).map(|index| outbound(backend, index)).collect();
        group.bench_function(BenchmarkId::new(backend.name(), SIZES[0]), |bencher| {
            let mut sender = Sender::new(SIZES[0], MANY);
            bencher.iter(|| sender.seal(backend, &sas));
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("esp/open");
    group.throughput(Throughput::Elements(BURST as u64));
    for backend in AeadBackend::available() {
        let sas = [outbound(backend, 0)];
        let receiver = inbound(backend);
        for size in SIZES {
            group.bench_function(BenchmarkId::new(backend.name(), size), |bencher| {
                let mut sender = Sender::new(size, 1);
                let place = sender.seal(backend, &sas);
                bencher.iter_batched_ref(
                    || (sender.frames.clone(), LocalReplayStore::new()),
                    |(frames, replay)| open_burst(backend, &receiver, replay, frames, place),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// Every kind of algorithm, both directions.
fn algorithms(criterion: &mut Criterion) {
    let backend = AeadBackend::preferred();
    let mut group = criterion.benchmark_group("esp/algorithm");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, algorithm) in ALGORITHMS {
        let sas = [outbound_of(algorithm, backend, 0)];
        let receiver = inbound_of(algorithm, backend);
        for size in SIZES {
            group.bench_function(BenchmarkId::new(format!("seal/{name}"), size), |bencher| {
                let mut sender = Sender::new(size, 1);
                bencher.iter(|| sender.seal(backend, &sas));
            });
            group.bench_function(BenchmarkId::new(format!("open/{name}"), size), |bencher| {
                let mut sender = Sender::new(size, 1);
                let place = sender.seal(backend, &sas);
                bencher.iter_batched_ref(
                    || (sender.frames.clone(), LocalReplayStore::new()),
                    |(frames, replay)| open_burst(backend, &receiver, replay, frames, place),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// Frames of one burst, and the counters of the SAs that they go to in turn.
struct Sender {
    frames: Vec<Vec<u8>>,
    counters: Vec<SequenceCounter>,
    header: [u8; wire::ipv4::MIN_HEADER_LEN],
    size: usize,
    next_sa: usize,
}

impl Sender {
    fn new(size: usize, sas: usize) -> Self {
        let mut header = [0; wire::ipv4::MIN_HEADER_LEN];
        wire::ipv4::Header::new(
            Ipv4Addr::new(10, 1, 0, 1),
            Ipv4Addr::new(10, 2, 0, 2),
            wire::protocol::UDP,
            size - header.len(),
        )
        .emit(&mut header)
        .unwrap_or_else(|error| panic!("an inner packet of {size} bytes: {error}"));
        Self {
            frames: vec![vec![0x5a; MAX_HEADROOM + size + MAX_TAILROOM]; BURST],
            counters: (0..sas).map(|_| SequenceCounter::new()).collect(),
            header,
            size,
            next_sa: 0,
        }
    }

    /// Seals the burst; each frame gets a fresh inner header first, for the last round left
    /// ciphertext there.
    fn seal(&mut self, backend: AeadBackend, sas: &[OutboundSa]) -> Sealed {
        let mut frames = self.frames.iter_mut();
        let mut jobs: [SealJob<'_>; BURST] = std::array::from_fn(|_| {
            let sa = self.next_sa;
            self.next_sa = (sa + 1) % sas.len();
            let number =
                self.counters[sa].draw(1, sas[sa].sequence_limit()).ok().and_then(|mut range| range.next());
            let (Some(frame), Some(number)) = (frames.next(), number) else {
                panic!("one frame and one sequence number per job");
            };
            frame[MAX_HEADROOM..MAX_HEADROOM + self.header.len()].copy_from_slice(&self.header);
            SealJob::new(&sas[sa], number, frame, MAX_HEADROOM, self.size)
        });
        esp::seal(backend, &mut jobs);
        match black_box(&jobs).last().map(SealJob::outcome) {
            Some(Ok(place)) => place,
            other => panic!("not sealed: {other:?}"),
        }
    }
}

fn open_burst(
    backend: AeadBackend,
    sa: &InboundSa,
    replay: &LocalReplayStore,
    frames: &mut [Vec<u8>],
    place: Sealed,
) {
    let header_len = wire::ipv4::MIN_HEADER_LEN;
    let mut frames = frames.iter_mut();
    let mut jobs: [OpenJob<'_, &LocalReplayStore>; BURST] = std::array::from_fn(|_| match frames.next() {
        Some(frame) => OpenJob::new(sa, replay, frame, place.offset + header_len, place.len - header_len, 0),
        None => panic!("one frame per job"),
    });
    esp::open(backend, &mut jobs);
    for job in black_box(&jobs) {
        assert!(job.outcome().is_ok(), "not opened: {:?}", job.outcome());
    }
}

fn key(algorithm: EspAlgorithm, index: usize) -> Vec<u8> {
    (0..algorithm.key_len()).map(|place| (index >> (place % 2 * 8)) as u8 ^ place as u8).collect()
}

fn outbound(backend: AeadBackend, index: usize) -> OutboundSa {
    outbound_of(ALGORITHM, backend, index)
}

fn outbound_of(algorithm: EspAlgorithm, backend: AeadBackend, index: usize) -> OutboundSa {
    let parameters = OutboundParameters {
        spi: 256,
        algorithm,
        key: &key(algorithm, index),
        salt: [1, 2, 3, 4],
        extended_sequence: true,
        mode: Mode::Tunnel,
        iv_key: [0x17; 16],
        outer: OuterParameters::new(
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv4Addr::new(198, 51, 100, 2).into(),
        ),
    };
    OutboundSa::new(backend, &parameters).unwrap_or_else(|error| panic!("outbound SA: {error}"))
}

fn inbound(backend: AeadBackend) -> InboundSa {
    inbound_of(ALGORITHM, backend)
}

fn inbound_of(algorithm: EspAlgorithm, backend: AeadBackend) -> InboundSa {
    let parameters = InboundParameters {
        spi: 256,
        algorithm,
        key: &key(algorithm, 0),
        salt: [1, 2, 3, 4],
        extended_sequence: true,
        replay_window: 1024,
        mode: Mode::Tunnel,
    };
    InboundSa::new(backend, &parameters).unwrap_or_else(|error| panic!("inbound SA: {error}"))
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20);
    targets = seal, seal_many, open, algorithms
}
criterion_main!(benches);
