//! `tohub check FILE`.

use std::path::Path;

use config::commit::review;
use config::edit::Offline;
use config::file;
use config::model::Prefix;
use config::proc_route;
use config::sizes::Sizes;
use program::Failure;
use protection::other_ways_out;
use sa_table::Capacities;

/// Prints notes, or the error for which the file is rejected.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let loaded = file::load(path, &mut Offline).map_err(|error| match &error {
        file::FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::new(Failure::PERMISSION, format!("{error}; run it as root"))
        }
        file::FileError::Io { .. } => Failure::new(Failure::FAILED, error.to_string()),
        _ => Failure::new(Failure::REFUSED, error.to_string()),
    })?;
    let ways = other_ways_out(&loaded.configuration, &kernel_routes());
    let notes: Vec<String> =
        loaded.notes.into_iter().chain(review(&loaded.configuration)).chain(ways).collect();
    for note in &notes {
        println!("{note}");
    }
    println!("{}", sizes(&Sizes::of(&loaded.configuration)));
    println!("{}: accepted, {} notes", path.display(), notes.len());
    Ok(())
}

/// Routes of this system, for example from a routing daemon; empty if they cannot be read.
fn kernel_routes() -> Vec<(Prefix, String)> {
    let listing = std::fs::read_to_string(proc_route::PATH).unwrap_or_default();
    proc_route::parse(&listing)
        .map(|route| (Prefix::v4(route.destination, route.length), route.device))
        .collect()
}

/// The resources that the file needs, and the size of the shared segments at a start with it.
fn sizes(sizes: &Sizes) -> String {
    let made = Capacities::for_demand(&protection::demand(sizes));
    let restart = if made == Capacities::default() {
        ""
    } else {
        "; a gateway that was started with a smaller file has smaller ones: restart it"
    };
    format!(
        "sizes: {} permits, {} rules, {} tunnels, room for {} more that come by themselves; \
         shared segments for {} policies and {} SAs each way, {} MiB{restart}",
        sizes.permits,
        sizes.rules(),
        sizes.tunnels,
        sizes.derived,
        made.policies,
        made.inbound_slots,
        made.octets().div_ceil(1 << 20)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_needs_the_default_and_a_large_one_a_restart() {
        let small = Sizes { interfaces: 2, permits: 10, tunnels: 20, ..Sizes::default() };
        let told = sizes(&small);
        assert!(told.contains("10 permits") && told.contains("for 4096 policies"), "{told}");
        assert!(!told.contains("restart"), "{told}");
        let told = sizes(&Sizes { permits: 100_000, ..small });
        assert!(told.contains("for 125000 policies") && told.contains("restart it"), "{told}");
    }
}
