//! Ten thousand tunnels between two control planes in memory: octets of heap of an idle one, and
//! whether all memory is freed when their idle timers have closed them, twice. Exit code 1 if not,
//! or above the limit.
//!
//! `--test` uses few tunnels. The heap is counted by the allocator; resident memory, which the C
//! library may return late, is printed too.

use std::alloc::System;
use std::process::ExitCode;

use simulation::tunnels::{LIMIT, Rounds};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TUNNELS: u32 = 10_000;

fn heap() -> i64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

fn main() -> ExitCode {
    let tunnels = if tohub_benches::smoke() { 200 } else { TUNNELS };
    let rounds = match Rounds::play(tunnels, heap) {
        Ok(rounds) => rounds,
        Err(error) => {
            eprintln!("idle tunnels: {error}");
            return ExitCode::FAILURE;
        }
    };
    for (end, name) in ["hub", "spokes"].into_iter().enumerate() {
        let kib = |octets: i64| octets / 1024;
        let before = &rounds.before[end];
        println!(
            "{name}: {} KiB of heap configured, {} slots free each way, {} policies",
            kib(before.heap),
            before.load.table.free.0,
            before.load.table.policies
        );
        for (round, (up, after)) in rounds.up.iter().zip(&rounds.after).enumerate() {
            let (up, after) = (&up[end], &after[end]);
            let [up_in, out_in] = rounds.took[round];
            println!(
                "{name}, round {}: up {} KiB, {} slots free, {} policies bound (both ends in {up_in:.1?}); idled out {} KiB, {} slots free, \
                 {} policies bound (in {out_in:.1?})",
                round + 1,
                kib(up.heap),
                up.load.table.free.0,
                up.carried,
                kib(after.heap),
                after.load.table.free.0,
                after.carried
            );
        }
    }
    let moments = ["configured", "up", "idled out", "up again", "idled out again"];
    for (moment, (own, shared)) in moments.iter().zip(&rounds.resident) {
        println!("process, {moment}: {own} KiB of its own resident, {shared} KiB shared");
    }
    let violations = rounds.violations();
    for violation in &violations {
        println!("idle tunnels: VIOLATED {violation}");
    }
    println!(
        "idle tunnels: {tunnels}, {} octets of heap each, limit {LIMIT} (IKE keys included, ESP keys are in the shared table)",
        rounds.octets_per_tunnel()
    );
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
