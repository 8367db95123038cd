//! The corpus of each fuzz target and mutations of it, on the stable tool chain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end where its story does not hold")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use fuzz_bodies::{TARGETS, Target};

/// Mutations per target. `FUZZ_MUTATIONS` asks for more.
const MUTATIONS: u64 = 1500;

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).collect();
    files.sort_by_key(|file| file.as_ref().unwrap().file_name());
    files.into_iter().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn mutated(seeds: &[Vec<u8>], draw: &mut Draw) -> Vec<u8> {
    let mut input = seeds[draw.below(seeds.len())].clone();
    for _ in 0..=draw.below(6) {
        let at = draw.below(input.len() + 1);
        match draw.below(7) {
            0 => input.truncate(at),
            1 => input.insert(at, draw.next() as u8),
            2 => {
                let other = &seeds[draw.below(seeds.len())];
                let from = draw.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            3 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][draw.below(5)],
            4 if at < input.len() => {
                let end = (at + draw.below(16)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = draw.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            _ if at < input.len() => input[at] ^= 1 << draw.below(8),
            _ => {}
        }
    }
    input
}

fn replay((name, body): Target) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "fuzz/corpus/{name} is empty");
    let asked = std::env::var("FUZZ_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let mut draw = Draw(7);
    let inputs = (0..asked.unwrap_or(MUTATIONS)).map(|_| mutated(&seeds, &mut draw));
    for input in seeds.iter().cloned().chain(inputs.collect::<Vec<_>>()) {
        if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
            panic!("{name} does not hold for {}", input.escape_ascii());
        }
    }
}

macro_rules! replays {
    ($($test:ident: $name:literal,)*) => {
        const REPLAYED: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            replay(*TARGETS.iter().find(|(name, _)| *name == $name).unwrap());
        })*
    };
}

replays! {
    packets_are_survived: "wire",
    ike_messages_are_survived: "ike_message",
    an_ike_endpoint_survives_its_peers: "ike_endpoint",
    ike_checkpoint_records_are_survived: "ike_checkpoint",
    configuration_text_is_survived: "configuration",
    command_lines_are_survived: "cli",
    control_messages_are_survived: "control",
    the_memory_of_a_control_plane_is_survived: "memory",
    shared_segments_are_survived: "segments",
}

#[test]
fn every_target_is_replayed_and_has_its_libfuzzer_program() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REPLAYED);
    for name in names {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("::{name}(")), "{name}");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no binary of fuzz/Cargo.toml");
    }
}
