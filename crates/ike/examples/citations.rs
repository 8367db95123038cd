//! Checks that every RFC section cited in the code is also cited by a test: `make citations` writes
//! the table of both into `docs/compliance.md` and fails while a cited section has no test.
//!
//! A citation is "RFC N §S" in a comment, with more sections behind a comma or "and". In the code
//! it stands at the decision, in a test at the test that shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BEGIN: &str = "<!-- citations: written by `make citations` -->\n";
const END: &str = "<!-- end of citations -->";

/// (RFC, section as numbers), so that §2.10 sorts after §2.9.
type Citation = (u32, Vec<u32>);

#[derive(Default)]
struct Places {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
}

fn main() -> ExitCode {
    match check() {
        Ok((sections, untested)) if untested.is_empty() => {
            println!("citations: PASS sections={sections}");
            ExitCode::SUCCESS
        }
        Ok((sections, untested)) => {
            println!("no test cites\n{}", untested.join("\n"));
            println!("citations: FAIL sections={sections} untested={}", untested.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("citations: FAIL {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the table; returns the number of sections that the code cites and those that no test
/// cites.
fn check() -> io::Result<(usize, Vec<String>)> {
    let places = collect()?;
    let untested = places
        .iter()
        .filter(|(_, places)| places.tests.is_empty())
        .map(|(citation, places)| format!("{} in {}", name(citation), list(&places.code)))
        .collect();
    let page = root().join("docs/compliance.md");
    let text = std::fs::read_to_string(&page)?;
    let missing = || io::Error::other("docs/compliance.md has no place for the table");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (stands, after) = rest.split_once(END).ok_or_else(missing)?;
    let table = render(&places);
    if stands != table {
        std::fs::write(&page, [before, BEGIN, &table, END, after].concat())?;
        println!("docs/compliance.md has a new table");
    }
    Ok((places.len(), untested))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collect() -> io::Result<BTreeMap<Citation, Places>> {
    let mut all: BTreeMap<Citation, Places> = BTreeMap::new();
    for file in files()? {
        let text = std::fs::read_to_string(root().join(&file))?;
        let only_tests =
            ["/tests/", "tests.rs", "vectors.rs", "/scripted"].iter().any(|part| file.contains(part));
        let (code, tests) = match text.find("\n#[cfg(test)]\nmod tests {") {
            _ if only_tests => ("", text.as_str()),
            Some(at) => text.split_at(at),
            None => (text.as_str(), ""),
        };
        for citation in comments(code).flat_map(|comment| citations(&comment)) {
            all.entry(citation).or_default().code.insert(file.clone());
        }
        for citation in comments(tests).flat_map(|comment| citations(&comment)) {
            all.entry(citation).or_default().tests.insert(file.clone());
        }
    }
    // Sections cited only by tests are left out: the table lists what the code implements.
    all.retain(|_, places| !places.code.is_empty());
    Ok(all)
}

/// Blocks of neighbouring comment lines, each as one text.
fn comments(text: &str) -> impl Iterator<Item = String> {
    let lines = text
        .lines()
        .map(|line| line.split_once("//").map(|(_, comment)| comment.trim_start_matches(['/', '!'])));
    let mut blocks = vec![String::new()];
    for line in lines {
        match (line, blocks.last_mut()) {
            (Some(comment), Some(block)) => block.push_str(&format!(" {}", comment.trim())),
            _ => blocks.push(String::new()),
        }
    }
    blocks.into_iter()
}

fn citations(text: &str) -> Vec<Citation> {
    let mut found = Vec::new();
    for part in text.split("RFC ").skip(1) {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(rfc) = part[..digits].parse() else { continue };
        let mut rest = &part[digits..];
        while let Some(section) = [" §", ", §", " and §"].iter().find_map(|lead| rest.strip_prefix(lead)) {
            let length =
                section.len() - section.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
            let numbers = section[..length].trim_end_matches('.');
            found.push((rfc, numbers.split('.').filter_map(|number| number.parse().ok()).collect()));
            rest = &section[numbers.len()..];
        }
    }
    found
}

/// The source files that are searched for citations.
fn files() -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![PathBuf::from("crates/ike/src"), PathBuf::from("crates/ike/tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(files)
}

fn name((rfc, section): &Citation) -> String {
    let numbers: Vec<String> = section.iter().map(u32::to_string).collect();
    format!("RFC {rfc} §{}", numbers.join("."))
}

fn list(files: &BTreeSet<String>) -> String {
    let short: Vec<&str> =
        files.iter().map(|file| file.strip_prefix("crates/ike/").unwrap_or(file)).collect();
    short.join(", ")
}

fn render(places: &BTreeMap<Citation, Places>) -> String {
    let mut table = "| section | decided in | shown by |\n|---|---|---|\n".to_owned();
    for (citation, places) in places {
        let shown = if places.tests.is_empty() { "no test yet".to_owned() } else { list(&places.tests) };
        table.push_str(&format!("| {} | {} | {} |\n", name(citation), list(&places.code), shown));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_found_in_comments_with_all_their_sections() {
        let found = |text: &str| citations(text).iter().map(name).collect::<Vec<_>>();
        assert_eq!(found("/// As RFC 7296 §2.21.1 says."), ["RFC 7296 §2.21.1"]);
        assert_eq!(found("(RFC 7296 §1.2, §2.6 and §3)"), ["RFC 7296 §1.2", "RFC 7296 §2.6", "RFC 7296 §3"]);
        assert_eq!(found("RFC 7296 §2.4, RFC 3948 §4"), ["RFC 7296 §2.4", "RFC 3948 §4"]);
        assert_eq!(found("§2.25 alone, RFC 4868 alone"), [""; 0]);
    }
}
