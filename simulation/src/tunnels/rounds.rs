//! Two rounds of bringing all tunnels up and idling them out, with the conditions that must hold.

use std::time::{Duration, Instant};

use super::{Heap, Holding, Tunnels};
use crate::network::SimulationError;

/// Maximum heap of an idle tunnel in one control plane, in octets: its IKE SA, its SA pair, its
/// share of the session, and the index entries of control plane and endpoint. It includes about 250
/// octets of IKE keys; ESP keys are in the shared table only.
pub const LIMIT: i64 = 4096;

/// Maximum heap that may remain for each closed tunnel, in octets: hash tables that do not shrink.
/// The second round must not add to it.
pub const LEFT: i64 = 256;

/// Allowance that does not grow with the tunnels: the lines of the transition history vary in
/// length.
const SLACK: i64 = 128 * 1024;

/// The resources of the two control planes, the hub first.
pub struct Rounds {
    /// Tunnels.
    pub count: u32,
    /// Configured, nothing up.
    pub before: [Holding; 2],
    /// All tunnels idle, in each round.
    pub up: [[Holding; 2]; 2],
    /// All tunnels closed by their idle timers, in each round.
    pub after: [[Holding; 2]; 2],
    /// Wall-clock time of bringing the tunnels up and of idling them out.
    pub took: [[Duration; 2]; 2],
    /// Resident memory of the whole process at these five times in KiB: private and shared pages.
    /// For information only: the allocator decides when to return pages, and a segment keeps those
    /// that were touched.
    pub resident: Vec<(u64, u64)>,
}

impl Rounds {
    /// Runs both rounds.
    ///
    /// # Errors
    /// If the segments cannot be created.
    pub fn play(count: u32, heap: Heap) -> Result<Self, SimulationError> {
        let mut tunnels = Tunnels::new(count, heap)?;
        let before = tunnels.holdings();
        let mut pages = vec![resident()];
        let mut round = || {
            let begin = Instant::now();
            tunnels.bring_up();
            let up_after = begin.elapsed();
            tunnels.rest();
            let up = tunnels.holdings();
            pages.push(resident());
            let begin = Instant::now();
            tunnels.idle_out();
            let took = [up_after, begin.elapsed()];
            pages.push(resident());
            (up, tunnels.holdings(), took)
        };
        let (first, second) = (round(), round());
        Ok(Rounds {
            count,
            before,
            up: [first.0, second.0],
            after: [first.1, second.1],
            took: [first.2, second.2],
            resident: pages,
        })
    }

    /// Octets of heap for each idle tunnel, the maximum over control planes and rounds.
    pub fn octets_per_tunnel(&self) -> i64 {
        let ups = self.up.iter().flat_map(|up| up.iter().zip(&self.before));
        ups.map(|(up, before)| (up.heap - before.heap) / i64::from(self.count)).max().unwrap_or_default()
    }

    /// The violated conditions.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut must = |holds: bool, what: &str, seen: &dyn std::fmt::Debug| {
            if !holds {
                found.push(format!("{what}: {seen:?}"));
            }
        };
        let count = self.count as usize;
        for up in self.up.iter().flatten() {
            let Holding { load, ike, carried, .. } = up;
            let all = [load.ike_sas, load.pairs, load.table.pairs, ike.ike_sas, ike.children, *carried];
            must(all == [count; 6], "every tunnel is up", up);
            must(load.table.free == (0, 0), "every slot is taken", up);
        }
        for (after, before) in self.after.iter().flat_map(|after| after.iter().zip(&self.before)) {
            must(after.load == before.load, "table usage and resource counts are as before", after);
            must(after.ike == before.ike, "the tables of IKE are as they were", after);
            must(after.carried == 0, "no policy leads to an SA", after);
            let left = after.heap - before.heap;
            must(left <= LEFT * i64::from(self.count) + SLACK, "the heap is nearly as it was", &left);
        }
        for (first, second) in self.after[0].iter().zip(&self.after[1]) {
            let growth = second.heap - first.heap;
            must(growth <= SLACK, "the second round leaves nothing more", &growth);
        }
        let each = self.octets_per_tunnel();
        // The constant part must not hide a leak with few tunnels.
        let limit = LIMIT + SLACK / i64::from(self.count);
        must(each <= limit.min(LIMIT + LIMIT / 8), "octets of an idle tunnel are within the limit", &each);
        found
    }
}

/// (RssAnon, RssShmem) of this process in KiB; zeros if the kernel does not provide them.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    (field("RssAnon:").unwrap_or_default(), field("RssShmem:").unwrap_or_default())
}
