//! The arrows between crates.

use crate::repository::Repository;

#[test]
fn the_arrows_of_the_architecture_are_dependencies() {
    let repository = Repository::read();
    let architecture = repository.text("ARCHITECTURE.md");
    let spans = architecture.split('`').skip(1).step_by(2).filter(|span| span.contains(" ← "));
    let mut wrong = Vec::new();
    for (from, to) in spans.flat_map(arrows) {
        let manifest = [format!("crates/{to}/Cargo.toml"), format!("{to}/Cargo.toml")]
            .map(|path| repository.text(&path))
            .concat();
        let is_named = |line: &str| line.strip_prefix(&from).is_some_and(|rest| rest.starts_with(['.', ' ']));
        if !manifest.lines().any(is_named) {
            wrong.push(format!("{to} does not depend on {from}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// `a ← b ← {c, d}` as pairs of neighbours.
fn arrows(chain: &str) -> Vec<(String, String)> {
    let names = |part: &str| -> Vec<String> {
        part.trim_matches(['{', '}']).split(',').map(|name| name.trim().to_owned()).collect()
    };
    let parts: Vec<Vec<String>> = chain.split(" ← ").map(names).collect();
    let mut arrows = Vec::new();
    for pair in parts.windows(2) {
        for from in &pair[0] {
            arrows.extend(pair[1].iter().map(|to| (from.clone(), to.clone())));
        }
    }
    arrows
}

#[test]
fn chains_and_groups_become_pairs() {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(arrows("a ← b ← {c, d}"), [pair("a", "b"), pair("b", "c"), pair("b", "d")]);
}
