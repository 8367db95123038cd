//! The AEAD kernel against the CPU's limit and against other libraries. `make bench-aead`.
//!
//! `call` is sealing or opening a burst of prepared jobs; `whole` also builds the jobs and gives
//! the prefetch hints, which is the cost in the data plane and is compared with one call of another
//! library.

use std::mem::MaybeUninit;
use std::process::ExitCode;

use aes_gcm_batch::{Backend, Engine, Job, KeySchedule, esp_nonce};
use serde_json::json;
use tohub_benches::limit::{self, Width};
use tohub_benches::report::Report;
use tohub_benches::window::{Sample, measure};

mod aead_libraries;

use aead_libraries::Library;

const SIZES: [usize; 8] = [16, 46, 68, 128, 256, 512, 1404, 8900];
const BURST: usize = 32;
/// Where a text starts in its frame: behind Ethernet, IP, ESP and IV headers.
const TEXT_OFFSET: usize = 50;
/// A schedule is prefetched this many packets ahead of its use.
const HINT: usize = 8;

/// One line of the table, as far as it is not the code path.
#[derive(Clone, Copy)]
struct Case {
    size: usize,
    key_len: usize,
    open: bool,
    keys: usize,
    burst: usize,
}

fn main() -> ExitCode {
    let mut report = Report::start("aead");
    let Some(width) = Width::widest() else {
        eprintln!("this CPU has no AES instructions: there is no limit to compare with");
        return ExitCode::FAILURE;
    };
    println!("limit: {width:?}; ticks are TSC ticks for one packet");
    let mut figures = Figures::default();
    for key_len in [16, 32] {
        for size in SIZES {
            figures.limits.push((size, key_len, limit::ticks_per_packet(width, size, key_len / 4 + 6)));
        }
    }
    let best = Engine::detect();
    let others = Backend::ALL.into_iter().filter(|&backend| backend != best.backend());
    let engines: Vec<Engine> =
        [best].into_iter().chain(others.filter_map(|backend| Engine::with_backend(backend).ok())).collect();
    println!(
        "{:22} {:>5} {:>4} {:>5} {:>5} {:>5} {:>8} {:>8} {:>8} {:>7} {:>6} {:>6}",
        "path", "bytes", "AES", "", "keys", "burst", "call", "median", "whole", "GB/s", "ratio", "noise"
    );
    for (index, &engine) in engines.iter().enumerate() {
        for case in cases(index == 0, engine.backend()) {
            own_line(&mut report, &mut figures, engine, case);
        }
        refine(&mut figures, engines[0], width);
    }
    for library in Library::ALL {
        for case in cases(false, Backend::Vaes256) {
            library_line(&mut report, &mut figures, library, case);
        }
        refine(&mut figures, engines[0], width);
    }
    if tohub_benches::smoke() {
        println!("Success");
        return ExitCode::SUCCESS;
    }
    targets(&mut report, &figures, engines[0].backend().name());
    match report.finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the results cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All cases for the best code path, and for the others those needed for the comparison.
fn cases(all: bool, backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for key_len in [16, 32] {
        for size in SIZES {
            for open in [false, true] {
                for keys in [1, 1000, 10_000] {
                    for burst in [1, BURST] {
                        let wanted = all || (keys == 1 || (keys == 10_000 && size == 68)) && burst == BURST;
                        let bearable = backend != Backend::Portable || (keys == 1 && key_len == 16);
                        if wanted && bearable {
                            cases.push(Case { size, key_len, open, keys, burst });
                        }
                    }
                }
            }
        }
    }
    cases
}

#[derive(Default)]
struct Figures {
    limits: Vec<(usize, usize, f64)>,
    /// Name, case, call, whole.
    lines: Vec<(&'static str, Case, f64, f64)>,
}

impl Figures {
    fn limit(&self, size: usize, key_len: usize) -> f64 {
        self.limits
            .iter()
            .find(|limit| (limit.0, limit.1) == (size, key_len))
            .map_or(f64::NAN, |limit| limit.2)
    }

    /// Call and whole of an AES-128 line in bursts of 32.
    fn of(&self, name: &str, size: usize, open: bool, keys: usize) -> (f64, f64) {
        let found = self.lines.iter().find(|(path, case, ..)| {
            *path == name
                && (case.size, case.open, case.keys, case.key_len, case.burst)
                    == (size, open, keys, 16, BURST)
        });
        found.map_or((f64::NAN, f64::NAN), |line| (line.2, line.3))
    }
}

/// Frames of a burst, the keys, and for opening the sealed form of one packet under every key.
struct State {
    schedules: Vec<KeySchedule>,
    frames: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
    next_key: usize,
    iv: u64,
}

impl State {
    fn new(case: Case) -> Self {
        let schedules: Vec<KeySchedule> = (0..case.keys)
            .filter_map(|index| {
                let mut key = [0x5a; 32];
                key[..8].copy_from_slice(&(index as u64).to_le_bytes());
                KeySchedule::new(&key[..case.key_len]).ok()
            })
            .collect();
        let frames = vec![vec![0; TEXT_OFFSET + case.size + 16 + 64]; case.burst];
        let mut state = State { schedules, frames, sealed: Vec::new(), next_key: 0, iv: 0 };
        if case.open {
            let engine = Engine::detect();
            for schedule in &state.schedules {
                let mut packet = vec![0x33; case.size + 16];
                if let Some((text, tag)) = packet.split_last_chunk_mut::<16>() {
                    engine.seal(&mut [Job::new(schedule, [0; 12], &[0; 8], text, tag)]);
                }
                state.sealed.push(packet);
            }
        }
        state
    }

    /// Puts sealed packets under the next keys into the frames.
    fn refill(&mut self, size: usize) {
        if self.sealed.is_empty() {
            return;
        }
        let mut key = self.next_key;
        for frame in &mut self.frames {
            frame[TEXT_OFFSET..TEXT_OFFSET + size + 16].copy_from_slice(&self.sealed[key]);
            key = following(key, self.schedules.len());
        }
    }

    /// Builds a burst's jobs, with hints when keys take turns, and hands them to `work`.
    #[inline(always)]
    fn with_jobs(&mut self, size: usize, work: impl FnOnce(&mut [Job<'_>])) {
        let State { schedules, frames, sealed, next_key, iv } = self;
        let keys = schedules.len();
        let mut jobs = [const { MaybeUninit::<Job<'_>>::uninit() }; BURST];
        let mut hinted = if keys > 1 { (*next_key + HINT) % keys } else { 0 };
        if keys > 1 {
            let mut first = *next_key;
            for _ in 0..HINT.min(frames.len()) {
                schedules[first].prefetch(size);
                first = following(first, keys);
            }
        }
        let count = frames.len();
        for (slot, frame) in jobs.iter_mut().zip(frames) {
            let Some((text, rest)) = frame[TEXT_OFFSET..].split_at_mut_checked(size) else { return };
            let Some(tag) = rest.first_chunk_mut::<16>() else { return };
            *iv += 1;
            let nonce = if sealed.is_empty() { esp_nonce([7; 4], iv.to_be_bytes()) } else { [0; 12] };
            slot.write(Job::new(&schedules[*next_key], nonce, &[0; 8], text, tag));
            *next_key = following(*next_key, keys);
            if keys > 1 {
                schedules[hinted].prefetch(size);
                hinted = following(hinted, keys);
            }
        }
        // SAFETY: the loop wrote `count` of them; it returns early otherwise.
        let jobs = unsafe { jobs[..count].assume_init_mut() };
        work(jobs);
    }
}

#[inline(always)]
fn following(key: usize, keys: usize) -> usize {
    if key + 1 == keys { 0 } else { key + 1 }
}

fn windows(case: Case) -> usize {
    (60_000_000 / ((case.size + 200) * case.burst)).clamp(200, 20_000)
}

/// Measures the lines of the targets, and their limits, again. Other virtual machines may share the
/// cores for seconds at a time; the best windows of measurements far apart show the speed of the
/// core, for the kernel and for the limit alike.
fn refine(figures: &mut Figures, engine: Engine, width: Width) {
    for (size, key_len, known) in &mut figures.limits {
        if *key_len == 16 {
            *known = known.min(limit::ticks_per_packet(width, *size, 10));
        }
    }
    for (name, case, call, whole) in &mut figures.lines {
        let bound = (case.keys == 1 && [46, 68, 256, 1404].contains(&case.size))
            || (case.keys, case.size) == (10_000, 68);
        if *name == engine.backend().name() && bound && case.key_len == 16 && case.burst == BURST {
            let (call_again, whole_again) = measure_own(engine, *case);
            *call = call.min(call_again.best);
            *whole = whole.min(whole_again.best);
        }
    }
}

fn own_line(report: &mut Report, figures: &mut Figures, engine: Engine, case: Case) {
    let (call, whole) = measure_own(engine, case);
    show(report, figures, engine.backend().name(), case, call, whole);
}

/// The call with its jobs ready, and with building them.
fn measure_own(engine: Engine, case: Case) -> (Sample, Sample) {
    let mut state = State::new(case);
    let run = |jobs: &mut [Job<'_>]| {
        if case.open {
            assert_eq!(engine.open(jobs), 0, "the benchmark opens what was sealed");
        } else {
            engine.seal(jobs);
        }
    };
    let whole = measure(
        windows(case),
        case.burst,
        &mut state,
        |state| state.refill(case.size),
        |state| state.with_jobs(case.size, run),
    );
    let call = if case.keys == 1 { call_alone(&mut state, case, engine) } else { whole };
    (call, whole)
}

/// The same with the jobs ready: they are built once and used in every window.
fn call_alone(state: &mut State, case: Case, engine: Engine) -> Sample {
    let mut sample = None;
    let sealed = state.sealed.first().cloned();
    state.refill(case.size);
    state.with_jobs(case.size, |jobs| {
        let reset = |jobs: &mut &mut [Job<'_>]| {
            // Opened packets are sealed again under the same nonce, which gives the same packets.
            if sealed.is_some() && jobs[0].is_authentic() {
                engine.seal(jobs);
            }
        };
        let mut jobs = jobs;
        sample = Some(measure(windows(case), case.burst, &mut jobs, reset, |jobs| {
            if case.open {
                assert_eq!(engine.open(jobs), 0, "the benchmark opens what was sealed");
            } else {
                engine.seal(jobs);
            }
        }));
    });
    sample.unwrap_or(Sample { best: f64::NAN, median: f64::NAN, disturbed: 1.0 })
}

fn library_line(report: &mut Report, figures: &mut Figures, library: Library, case: Case) {
    let mut keys = library.keys(case.key_len, case.keys);
    let mut frames = vec![vec![0u8; case.size + 16]; case.burst];
    let mut sealed: Vec<Vec<u8>> = Vec::new();
    if case.open {
        for key in &mut keys {
            let mut packet = vec![0x33; case.size + 16];
            key.seal([0; 12], &[0; 8], &mut packet);
            sealed.push(packet);
        }
    }
    let mut next_key = 0;
    let mut iv = 0u64;
    let mut state = (&mut keys, &mut frames, &mut next_key);
    let sample = measure(
        windows(case).min(3000),
        case.burst,
        &mut state,
        |(keys, frames, next_key)| {
            let mut key = **next_key;
            for frame in frames.iter_mut().filter(|_| case.open) {
                frame.copy_from_slice(&sealed[key]);
                key = following(key, keys.len());
            }
        },
        |(keys, frames, next_key)| {
            for frame in frames.iter_mut() {
                let key = &mut keys[**next_key];
                iv += 1;
                if case.open {
                    assert!(key.open([0; 12], &[0; 8], frame), "the benchmark opens what was sealed");
                } else {
                    key.seal(esp_nonce([7; 4], iv.to_be_bytes()), &[0; 8], frame);
                }
                **next_key = following(**next_key, keys.len());
            }
        },
    );
    show(report, figures, library.name(), case, sample, sample);
}

fn show(
    report: &mut Report,
    figures: &mut Figures,
    name: &'static str,
    case: Case,
    call: Sample,
    whole: Sample,
) {
    let ratio = call.best / figures.limit(case.size, case.key_len);
    let rate = case.size as f64 * report.clock().ticks_per_second / call.best / 1e9;
    let direction = if case.open { "open" } else { "seal" };
    println!(
        "{name:22} {:5} {:4} {direction:>5} {:5} {:5} {:8.1} {:8.1} {:8.1} {rate:7.2} {ratio:6.2} {:5.0}%",
        case.size,
        case.key_len * 8,
        case.keys,
        case.burst,
        call.best,
        call.median,
        whole.best,
        100.0 * call.disturbed,
    );
    report.line(
        json!({
            "path": name, "bytes": case.size, "key_bits": case.key_len * 8, "direction": direction, "keys": case.keys,
            "burst": case.burst, "ticks_best": call.best, "ticks_median": call.median, "ticks_whole": whole.best,
            "gigabytes_per_second": rate, "ratio_to_limit": ratio, "limit": figures.limit(case.size, case.key_len),
            "disturbed_windows": call.disturbed,
        }),
        call.disturbed,
    );
    figures.lines.push((name, case, call.best, whole.best));
}

/// The bounds, AES-128 in bursts of 32.
fn targets(report: &mut Report, figures: &Figures, best: &str) {
    for (size, seal, open) in [(46, 2.8, 3.0), (68, 2.8, 3.0), (256, 1.9, 2.0), (1404, 1.5, 1.5)] {
        let limit = figures.limit(size, 16);
        report.target(
            format!("seal {size} bytes, times the limit of {limit:.1}"),
            figures.of(best, size, false, 1).0 / limit,
            seal,
        );
        report.target(
            format!("open {size} bytes, times the limit"),
            figures.of(best, size, true, 1).0 / limit,
            open,
        );
    }
    for (open, name) in [(false, "seal"), (true, "open")] {
        let (one, many) = (figures.of(best, 68, open, 1).1, figures.of(best, 68, open, 10_000).1);
        report.target(format!("{name} 68 bytes, 10000 keys in turn, times one key"), many / one, 1.9);
    }
    for (size, times) in [(68, 3.0), (1404, 1.5)] {
        let fastest = Library::ALL
            .iter()
            .map(|library| figures.of(library.name(), size, false, 1).1)
            .fold(f64::INFINITY, f64::min);
        let ours = figures.of(best, size, false, 1).1;
        report.target(
            format!("seal {size} bytes, share of the fastest library's time"),
            ours / fastest,
            1.0 / times,
        );
    }
    // The absolute limits apply only to the core that they were set for: AMD family 25 (Zen 3).
    if tohub_benches::clock::cpu().contains("AMD") && tohub_benches::clock::cpu().contains("family 25 ") {
        for (size, ticks) in [(46, 60.0), (68, 60.0), (256, 110.0), (1404, 368.0)] {
            report.target(format!("seal {size} bytes, ticks"), figures.of(best, size, false, 1).0, ticks);
        }
        report.target(
            "seal 68 bytes, 10000 keys in turn, ticks",
            figures.of(best, 68, false, 10_000).1,
            110.0,
        );
    }
}
