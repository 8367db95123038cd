//! Tests whether the run time depends on secrets: Welch's t-test between two classes of inputs,
//! after Reparaz, Balasch and Verbauwhede ("dude, is my code constant time?").
//!
//! Each test draws at random, packet burst by packet burst, between a fixed secret and a random
//! one, and compares the times. Above |t| = 10 with this many measurements something leaks; above 5
//! it should be investigated. A noisy machine makes |t| smaller, never larger in the long run.

use std::process::ExitCode;

use aes_gcm_batch::{Backend, Engine, Job, KeySchedule};
use tohub_benches::clock::ticks;

const MEASUREMENTS: usize = 50_000;
const BURST: usize = 4;

fn main() -> ExitCode {
    let mut failed = false;
    for backend in Backend::ALL {
        let Ok(engine) = Engine::with_backend(backend) else {
            println!("{backend}: not on this CPU");
            continue;
        };
        for length in [68, 1404] {
            for (what, t) in [
                ("key, seal", keys(engine, length)),
                ("plaintext, seal", plaintexts(engine, length)),
                ("place of the first wrong tag byte, open", tags(engine, length)),
            ] {
                let verdict = if t.abs() > 10.0 {
                    "LEAK"
                } else if t.abs() > 5.0 {
                    "look"
                } else {
                    "ok"
                };
                failed |= t.abs() > 10.0 && backend != Backend::Portable;
                println!("{backend:22} {length:5} bytes  {what:40} t = {t:7.2}  {verdict}");
            }
        }
    }
    if tohub_benches::smoke() {
        println!("Success");
        return ExitCode::SUCCESS;
    }
    println!("aead-dudect: {}", if failed { "FAIL" } else { "PASS" });
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The all-zero key against random ones; the expansion is not timed. Every schedule lies at the
/// same place.
fn keys(engine: Engine, length: usize) -> f64 {
    let mut random = Random(1);
    let mut texts = vec![vec![0x5a; length]; BURST];
    compare(|class| {
        let key = if class { random.next().to_le_bytes().repeat(2) } else { vec![0; 16] };
        let schedule = KeySchedule::new(&key).ok()?;
        let mut tags = [[0; 16]; BURST];
        let mut jobs = jobs(&schedule, &mut texts, &mut tags);
        let start = ticks();
        engine.seal(&mut jobs);
        Some(ticks() - start)
    })
}

fn plaintexts(engine: Engine, length: usize) -> f64 {
    let mut random = Random(2);
    let Ok(schedule) = KeySchedule::new(&[3; 16]) else { return f64::NAN };
    let mut texts = vec![vec![0; length]; BURST];
    compare(|class| {
        for byte in texts.iter_mut().flatten() {
            let drawn = random.next() as u8;
            *byte = if class { drawn } else { 0 };
        }
        let mut tags = [[0; 16]; BURST];
        let mut jobs = jobs(&schedule, &mut texts, &mut tags);
        let start = ticks();
        engine.seal(&mut jobs);
        Some(ticks() - start)
    })
}

/// All packets are forged; in one class the first byte of the tag is wrong, in the other the last.
fn tags(engine: Engine, length: usize) -> f64 {
    let Ok(schedule) = KeySchedule::new(&[3; 16]) else { return f64::NAN };
    let mut sealed = vec![vec![0x77; length]; BURST];
    let mut good = [[0; 16]; BURST];
    engine.seal(&mut jobs(&schedule, &mut sealed, &mut good));
    let mut texts = sealed.clone();
    compare(|class| {
        for (text, original) in texts.iter_mut().zip(&sealed) {
            text.copy_from_slice(original);
        }
        let mut tags = good;
        for tag in &mut tags {
            tag[if class { 15 } else { 0 }] ^= 0x40;
        }
        let mut jobs = jobs(&schedule, &mut texts, &mut tags);
        let start = ticks();
        let rejected = engine.open(&mut jobs);
        let time = ticks() - start;
        (rejected == BURST).then_some(time)
    })
}

fn jobs<'a>(
    schedule: &'a KeySchedule,
    texts: &'a mut [Vec<u8>],
    tags: &'a mut [[u8; 16]; BURST],
) -> Vec<Job<'a>> {
    texts
        .iter_mut()
        .zip(tags)
        .map(|(text, tag)| Job::new(schedule, [9; 12], b"12345678", text, tag))
        .collect()
}

/// Welch's t over random draws of the class, without the slowest twentieth, which are interrupts.
fn compare(mut measure: impl FnMut(bool) -> Option<u64>) -> f64 {
    let mut random = Random(0x6475_6465);
    let measurements = if tohub_benches::smoke() { 100 } else { MEASUREMENTS };
    let mut times: Vec<(bool, u64)> = Vec::with_capacity(measurements);
    for _ in 0..measurements {
        let class = random.next() & 1 == 1;
        if let Some(time) = measure(class) {
            times.push((class, time));
        }
    }
    let mut sorted: Vec<u64> = times.iter().map(|&(_, time)| time).collect();
    sorted.sort_unstable();
    let cut = sorted[sorted.len() * 19 / 20];
    let moments = |wanted: bool| {
        let kept: Vec<f64> = times
            .iter()
            .filter(|&&(class, time)| class == wanted && time <= cut)
            .map(|&(_, time)| time as f64)
            .collect();
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (kept.len() - 1) as f64;
        (mean, variance / kept.len() as f64)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(false), moments(true));
    (mean_a - mean_b) / (error_a + error_b).sqrt().max(f64::MIN_POSITIVE)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
