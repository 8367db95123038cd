//! Criterion's statistics over the same matrix as `aead`: sizes × AES-128/256 × seal/open × keys in
//! turn × packets a burst.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm_batch::{Engine, Job, KeySchedule};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 8] = [16, 46, 68, 128, 256, 512, 1404, 8900];

fn matrix(criterion: &mut Criterion) {
    let engine = Engine::detect();
    for (key_len, open) in [(16, false), (16, true), (32, false), (32, true)] {
        let direction = if open { "open" } else { "seal" };
        let mut group =
            criterion.benchmark_group(format!("aes{}-{direction}-{}", key_len * 8, engine.backend()));
        group
            .sample_size(10)
            .nresamples(1000)
            .warm_up_time(Duration::from_millis(20))
            .measurement_time(Duration::from_millis(100));
        for keys in [1, 1000, 10_000] {
            let schedules: Vec<KeySchedule> = (0..keys)
                .filter_map(|index: u64| {
                    KeySchedule::new(&[&index.to_le_bytes()[..], &[7; 24]].concat()[..key_len]).ok()
                })
                .collect();
            for burst in [1, 32] {
                for size in SIZES {
                    group.throughput(Throughput::Bytes((size * burst) as u64));
                    let id = BenchmarkId::new(format!("{keys}keys-{burst}burst"), size);
                    group.bench_function(id, |bencher| {
                        let mut frames = vec![vec![0; size + 16]; burst];
                        let mut first = 0;
                        bencher.iter_custom(|iterations| {
                            let mut total = Duration::ZERO;
                            for _ in 0..iterations {
                                first = (first + burst) % schedules.len();
                                if open {
                                    engine.seal(&mut jobs(&mut frames, &schedules, first));
                                }
                                let mut jobs = jobs(&mut frames, &schedules, first);
                                let start = Instant::now();
                                if open {
                                    black_box(engine.open(&mut jobs));
                                } else {
                                    engine.seal(&mut jobs);
                                }
                                total += start.elapsed();
                            }
                            total
                        });
                    });
                }
            }
        }
        group.finish();
    }
}

fn jobs<'a>(frames: &'a mut [Vec<u8>], schedules: &'a [KeySchedule], first: usize) -> Vec<Job<'a>> {
    let keys = schedules.iter().cycle().skip(first);
    frames
        .iter_mut()
        .zip(keys)
        .filter_map(|(frame, schedule)| {
            let (text, tag) = frame.split_last_chunk_mut::<16>()?;
            Some(Job::new(schedule, [1; 12], &[0; 8], text, tag))
        })
        .collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = matrix
}
criterion_main!(benches);
