//! Random bursts through every back end, against two other libraries.

use aes_gcm_batch::{Engine, Job, KeySchedule};

use super::{Random, Reference};

/// Every length below this comes in turn; every 64th packet is longer.
const SWEEP: usize = 2049;
const JUMBO: usize = 9600;
/// Bursts of 1 to this many packets.
const WIDEST: usize = 33;
/// Bytes around a packet that must not change.
const MARGIN: usize = 64;

struct Case {
    key: usize,
    nonce: [u8; 12],
    aad: Vec<u8>,
    /// Where text and tag lie in the arena, the tag right behind the text as in ESP.
    start: usize,
    length: usize,
    /// Bit to be changed before opening: of text, then tag, then additional data.
    corrupt: Option<usize>,
}

/// Seals and opens at least `packets` random packets with each engine and panics at the first
/// difference. Returns how many it were.
pub fn run(engines: &[Engine], seed: u64, packets: usize, mut progress: impl FnMut(usize)) -> usize {
    let mut random = Random(seed);
    let keys: Vec<Vec<u8>> = (0..45).map(|index| random.bytes([16, 24, 32][index % 3])).collect();
    let schedules: Vec<KeySchedule> = keys.iter().map(|key| KeySchedule::new(key).unwrap()).collect();
    let references: Vec<Reference> = keys.iter().map(|key| Reference::new(key)).collect();
    let (mut done, mut bursts, mut sweep) = (0, 0, 0);
    let mut plain = Vec::new();
    let mut sealed = Vec::new();
    let mut by_ring = Vec::new();
    let mut arena = Vec::new();
    while done < packets {
        let width = 1 + bursts % WIDEST;
        bursts += 1;
        let cases = burst(&mut random, width, &mut sweep, &mut plain);
        sealed.clone_from(&plain);
        for case in &cases {
            let reference = &references[case.key];
            let text = case.start..case.start + case.length;
            let tag = reference.seal(case.nonce, &case.aad, &mut sealed[text.clone()]);
            sealed[text.end..text.end + 16].copy_from_slice(&tag);
            by_ring.clear();
            by_ring.extend_from_slice(&plain[text.clone()]);
            if let Some(tag_of_ring) = reference.seal_with_ring(case.nonce, &case.aad, &mut by_ring) {
                assert_eq!(by_ring, sealed[text], "the two reference libraries differ");
                assert_eq!(tag_of_ring, tag, "the two reference libraries differ");
            }
        }
        for &engine in engines {
            arena.clone_from(&plain);
            engine.seal(&mut jobs(&cases, &schedules, &mut arena, false));
            same(engine, "sealed", &cases, &arena, &sealed);
            open(engine, &cases, &schedules, &mut arena, &plain);
        }
        done += width;
        progress(done);
    }
    done
}

/// A burst of random packets, and its arena with plaintext and margins.
fn burst(random: &mut Random, width: usize, sweep: &mut usize, plain: &mut Vec<u8>) -> Vec<Case> {
    let uniform = random.below(4) == 0;
    let (one_key, one_length) = (random.below(45), random.below(SWEEP));
    let mut end = 0;
    let cases: Vec<Case> = (0..width)
        .map(|_| {
            *sweep = (*sweep + 1) % SWEEP;
            let length = match random.below(64) {
                0 => SWEEP + random.below(JUMBO - SWEEP),
                _ if uniform => one_length,
                _ => *sweep,
            };
            let aad_len = match random.below(8) {
                0..=2 => 8,
                3..=5 => 12,
                6 => random.below(17),
                _ => random.below(80),
            };
            let start = (end + MARGIN).next_multiple_of(64) + random.below(64);
            end = start + length + 16;
            let bits = 8 * (length + 16 + aad_len);
            Case {
                key: if uniform { one_key } else { random.below(45) },
                nonce: random.bytes(12).try_into().unwrap(),
                aad: random.bytes(aad_len),
                start,
                length,
                corrupt: (random.below(8) == 0).then(|| random.below(bits)),
            }
        })
        .collect();
    plain.resize(end + MARGIN, 0);
    random.fill(plain);
    cases
}

fn jobs<'a>(
    cases: &'a [Case],
    schedules: &'a [KeySchedule],
    arena: &'a mut [u8],
    corrupt: bool,
) -> Vec<Job<'a>> {
    let mut rest = arena;
    let mut at = 0;
    cases
        .iter()
        .map(|case| {
            let (_, from_text) = std::mem::take(&mut rest).split_at_mut(case.start - at);
            let (text, more) = from_text.split_at_mut(case.length);
            let (tag, more) = more.split_first_chunk_mut::<16>().unwrap();
            at = case.start + case.length + 16;
            rest = more;
            let mut aad: &[u8] = &case.aad;
            if corrupt && let Some(bit) = case.corrupt {
                let (byte, flip) = (bit / 8, 1 << (bit % 8));
                if byte < case.length {
                    text[byte] ^= flip;
                } else if byte < case.length + 16 {
                    tag[byte - case.length] ^= flip;
                } else {
                    let mut changed = case.aad.clone();
                    changed[byte - case.length - 16] ^= flip;
                    aad = changed.leak();
                }
            }
            Job::new(&schedules[case.key], case.nonce, aad, text, tag)
        })
        .collect()
}

fn open(engine: Engine, cases: &[Case], schedules: &[KeySchedule], arena: &mut [u8], plain: &[u8]) {
    let mut opened = jobs(cases, schedules, arena, true);
    let rejected = engine.open(&mut opened);
    let verdicts: Vec<bool> = opened.iter().map(Job::is_authentic).collect();
    assert_eq!(
        rejected,
        verdicts.iter().filter(|&&authentic| !authentic).count(),
        "{engine:?} counts as it judges"
    );
    for (case, authentic) in cases.iter().zip(verdicts) {
        let text = case.start..case.start + case.length;
        assert_eq!(authentic, case.corrupt.is_none(), "{engine:?} judges a packet of {} bytes", case.length);
        if authentic {
            assert!(arena[text.clone()] == plain[text], "{engine:?} opens a packet of {} bytes", case.length);
        } else {
            assert!(
                arena[text].iter().all(|&byte| byte == 0),
                "{engine:?} leaves nothing of {} bytes",
                case.length
            );
        }
    }
}

/// Compares texts, tags and all that lies between.
fn same(engine: Engine, what: &str, cases: &[Case], ours: &[u8], expected: &[u8]) {
    if ours == expected {
        return;
    }
    for case in cases {
        let packet = case.start..case.start + case.length + 16;
        assert!(
            ours[packet.clone()] == expected[packet],
            "{engine:?} {what} differently: text {} aad {} key {} burst {}",
            case.length,
            case.aad.len(),
            case.key % 3,
            cases.len(),
        );
    }
    panic!("{engine:?} wrote outside its packets");
}
