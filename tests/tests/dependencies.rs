//! Packages that the small programs must not link, checked by cargo's dependency graph.

use std::collections::BTreeSet;
use std::process::Command;

use lab::Result;
use lab::command::checked;

/// Names of the packages that `package` links, itself included.
fn linked(package: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package]);
    let listing = checked(&mut command)?;
    Ok(listing.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn assert_links_none_of(package: &str, unwanted: &[&str]) -> Result<()> {
    let linked = linked(package)?;
    assert!(linked.contains(package), "{package}: {linked:?}");
    let found: Vec<_> = unwanted.iter().filter(|name| linked.contains(**name)).collect();
    assert!(found.is_empty(), "{package} links {found:?}");
    Ok(())
}

const PACKET_SIDE: [&str; 6] = ["dataplane", "af_xdp", "esp", "aya", "aya-obj", "rtnetlink"];

#[test]
fn the_privileged_parent_links_no_parser_and_neither_plane() -> Result<()> {
    assert!(linked("tohub-supervise")?.contains("sa_table"));
    assert_links_none_of("tohub-supervise", &PACKET_SIDE)?;
    assert_links_none_of(
        "tohub-supervise",
        &["config", "ike", "protection", "controlplane", "simulation", "aws-lc-rs", "rustyline", "tokio"],
    )
}

#[test]
fn the_command_line_links_neither_plane_and_no_simulation() -> Result<()> {
    assert!(linked("tohub")?.contains("config"));
    assert_links_none_of("tohub", &PACKET_SIDE)?;
    assert_links_none_of("tohub", &["controlplane", "ike", "simulation", "tokio"])
}

#[test]
fn no_shipped_program_links_ring_or_the_simulation() -> Result<()> {
    assert!(linked("tohub-tests")?.contains("simulation"), "what is looked for can be found");
    assert!(linked("simulation")?.contains("controlplane"));
    for package in ["tohub", "tohub-supervise", "tohub-guard", "dataplane", "controlplane"] {
        assert_links_none_of(package, &["ring", "simulation", "tohub-tests"])?;
    }
    assert_links_none_of("simulation", &["ring", "dataplane", "aya"])
}
