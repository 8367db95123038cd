//! The limits in the documentation, in the configuration checks and in the eBPF programs agree.
#![allow(clippy::unwrap_used, reason = "tests")]

use config::sizes;
use sa_table::{Capacities, Demand};

/// A page of the documentation, without thousands separators.
fn page(name: &str) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_kernel_maps_hold_what_the_configuration_language_checks() {
    assert_eq!(sizes::MAX_PORTS, u64::from(ebpf_abi::MAX_PORTS));
    assert_eq!(sizes::MAX_GUARD_RULES, u64::from(ebpf_abi::MAX_RULES_PER_PORT));
    // The tables are double-buffered, or temporarily hold the entries of two policies.
    assert_eq!(sizes::MAX_GUARD_RULES_OF_ALL, u64::from(ebpf_abi::MAX_RULES / 2));
    assert_eq!(sizes::MAX_PREFIXES, u64::from(ebpf_abi::MAX_PREFIXES / 2));
}

#[test]
fn the_shared_segments_can_be_made_for_what_the_configuration_language_accepts() {
    let most = Demand {
        ports: 10_000,
        rule_lists: 64,
        rules: sizes::MAX_RULES,
        policies: sizes::MAX_PERMITS,
        tunnels: sizes::MAX_PERMITS,
        filter_lists: 1000,
        filter_lines: 100_000,
        filter_bindings: 128 + 2 * sizes::MAX_PERMITS,
    };
    let made = Capacities::for_demand(&most);
    assert_eq!(made.check_room(&most), Ok(()));
    let beyond = Demand { policies: sizes::MAX_PERMITS + 1, ..most };
    assert!(Capacities::for_demand(&beyond).check_room(&beyond).is_err());
}

#[test]
fn the_documentation_names_the_limits() {
    let ebpf = page("ebpf.md");
    let limits = &ebpf[ebpf.find("## Limits").unwrap()..ebpf.find("## Building").unwrap()];
    let numbers = [
        format!("{} ports", sizes::MAX_PORTS),
        format!("{} queues", ebpf_abi::MAX_QUEUES),
        format!("{} rules of all lists", sizes::MAX_GUARD_RULES_OF_ALL),
        format!("{} rules of one", sizes::MAX_GUARD_RULES),
        format!("{} prefixes", sizes::MAX_PREFIXES),
    ];
    for number in numbers {
        assert!(limits.contains(&number), "docs/ebpf.md, Limits, does not say \"{number}\"");
    }
    let table = page("sa_table.md");
    let least = Capacities::default();
    for number in [
        format!("{} policies", least.policies),
        format!("{} SAs each way", least.inbound_slots),
        format!("{} permits", sizes::MAX_PERMITS),
        format!("{} rules", sizes::MAX_RULES),
    ] {
        assert!(table.contains(&number), "docs/sa_table.md does not say \"{number}\"");
    }
}
