//! The places of `unsafe`.

use std::collections::BTreeSet;

use crate::repository::Repository;

#[test]
fn unsafe_stands_only_where_the_architecture_says() {
    let repository = Repository::read();
    let architecture = repository.text("ARCHITECTURE.md");
    let paragraph = architecture.split("\n\n").find(|text| text.starts_with("`unsafe` stands in")).unwrap();
    let stated: BTreeSet<String> = paragraph
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| repository.has_path(span))
        .map(|span| span.trim_end_matches('/').to_owned())
        .collect();
    let found: BTreeSet<String> = repository
        .paths
        .iter()
        .filter(|path| path.ends_with(".rs") && !path.starts_with("tests/tests/documents/"))
        .filter(|path| has_unsafe(&repository.text(path)))
        .map(|path| room(path))
        .collect();
    assert_eq!(stated, found, "ARCHITECTURE.md, and the code");
}

/// The first directory of a path, two below `crates`.
fn room(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    parts[..if parts[0] == "crates" { 2 } else { 1 }].join("/")
}

/// Whether the text has an `unsafe` block, function, implementation or attribute outside of
/// comments.
fn has_unsafe(text: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).any(|code| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait", "#[unsafe("]
            .iter()
            .any(|form| code.contains(form) && !code.contains(&format!("\"{form}")))
    })
}

#[test]
fn unsafe_is_code_and_no_word() {
    assert!(has_unsafe("    let x = unsafe { read() };"));
    assert!(has_unsafe("#[unsafe(no_mangle)]"));
    assert!(!has_unsafe("#![forbid(unsafe_code)]\n// unsafe { }\n/// `unsafe fn`"));
}
