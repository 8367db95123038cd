//! The memory of idle tunnels, and that all of it is freed. `make bench-ike` does the same with 10
//! 000.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::System;

use simulation::tunnels::Rounds;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TUNNELS: u32 = 500;

fn heap() -> i64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

// Must be the only test of this file: the allocator would count a concurrent one, too.
#[test]
fn idle_tunnels_give_everything_back_and_the_next_ones_find_room() {
    let rounds = Rounds::play(TUNNELS, heap).unwrap();
    println!("{TUNNELS} idle tunnels: {} octets of heap each", rounds.octets_per_tunnel());
    assert!(rounds.violations().is_empty(), "{:#?}", rounds.violations());
}
