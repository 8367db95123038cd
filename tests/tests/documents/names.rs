//! Names of files, modules, items and targets.

use crate::page::{Claim, claims};
use crate::repository::Repository;

/// Directories in which a page's short names are looked for, beside the root: the page's own crate.
const SCOPES: [(&str, &[&str]); 9] = [
    ("docs/aead.md", &["crates/aes_gcm_batch/"]),
    ("docs/closed.md", &["dataplane/", "ebpf/"]),
    ("docs/dataplane-host.md", &["dataplane/"]),
    ("docs/filters.md", &["dataplane/", "crates/config/"]),
    ("docs/preferred-peer.md", &["controlplane/"]),
    ("docs/specification.md", &["controlplane/", "crates/config/", "crates/ike/", "simulation/", "tests/"]),
    ("docs/compliance.md", &["crates/ike/"]),
    ("docs/ebpf.md", &["ebpf/", "dataplane/"]),
    ("docs/tour.md", &[]),
];

/// Spans that look like names of this repository but are not: a path relative to a program, an
/// abbreviation that its page explains, a function of the C library.
const FOREIGN: [&str; 3] = ["../sbin", "no_socket", "malloc_trim"];

/// Endings of files that a page names.
const ENDINGS: [&str; 8] = [".rs", ".md", ".toml", ".sh", ".py", ".mk", ".cfg", ".service"];

#[test]
fn what_the_pages_name_exists() {
    let repository = Repository::read();
    let makefiles: String = repository
        .paths
        .iter()
        .filter(|path| *path == "Makefile" || path.starts_with("mk/") && path.ends_with(".mk"))
        .map(|path| repository.text(path))
        .collect();
    let mut missing = Vec::new();
    for page in repository.pages() {
        let scopes = scopes(&repository, page);
        for (line, claim) in claims(&repository.text(page)) {
            let (name, found) = match &claim {
                Claim::Module(name) => (name, is_path(&repository, page, &scopes, name)),
                Claim::Link(link) => (link, repository.has_path(&resolved(page, link))),
                Claim::Target(target) => (target, has_target(&makefiles, target)),
                Claim::Span(span) => {
                    (span, FOREIGN.contains(&span.as_str()) || span_is_true(&repository, page, &scopes, span))
                }
            };
            if !found {
                let candidates = repository.candidates(name);
                let hint =
                    if candidates.is_empty() { String::new() } else { format!("; there is {candidates:?}") };
                missing.push(format!("{page}:{line}: {name}{hint}"));
            }
        }
    }
    assert!(missing.is_empty(), "{} names without a thing:\n{}", missing.len(), missing.join("\n"));
}

/// Whether a code span is not a name of this repository, or exists.
fn span_is_true(repository: &Repository, page: &str, scopes: &[String], span: &str) -> bool {
    let name = span.split_once('(').map_or(span, |(name, _)| name);
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_identifier = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    if name.contains("::") {
        let mut segments = name.split("::").filter(|segment| !segment.is_empty());
        let is_path = segments.clone().all(is_identifier);
        return !is_path || segments.all(|segment| repository.has_word(segment));
    }
    if is_plain(span) && (span.contains('/') || ENDINGS.iter().any(|ending| span.ends_with(ending))) {
        // Absolute paths are the machine's; upper case and digits first are placeholders and
        // addresses.
        let is_ours = span.starts_with(|c: char| c.is_ascii_lowercase() || c == '.')
            || repository.has_path(span)
            || ENDINGS.iter().any(|ending| span.ends_with(ending));
        return !is_ours || span.starts_with('/') || is_path(repository, page, scopes, span);
    }
    let has_lower = name.chars().any(|c| c.is_ascii_lowercase());
    let is_camel = name.starts_with(|c: char| c.is_ascii_uppercase()) && has_lower;
    if is_identifier(name) && has_lower && (name.contains('_') || is_camel && name != span) {
        return repository.has_word(name);
    }
    true
}

fn is_path(repository: &Repository, page: &str, scopes: &[String], name: &str) -> bool {
    let name = name.trim_end_matches("/*").trim_end_matches('/');
    repository.has_path(name)
        || repository.has_path(&resolved(page, name))
        || scopes.iter().any(|scope| repository.has_below(scope, name))
        // A bare file name with an ending.
        || !name.contains('/') && name.contains('.') && repository.has_below("", name)
}

fn has_target(makefiles: &str, target: &str) -> bool {
    makefiles.lines().any(|line| {
        line.split_once(':').is_some_and(|(names, _)| names.split_whitespace().any(|name| name == target))
            && !line.starts_with(['\t', '#', '.'])
    })
}

/// A path beside the page, without `..`.
fn resolved(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn scopes(repository: &Repository, page: &str) -> Vec<String> {
    if let Some((_, scopes)) = SCOPES.iter().find(|(name, _)| *name == page) {
        return scopes.iter().map(|&scope| scope.to_owned()).collect();
    }
    let name = page.trim_start_matches("docs/").trim_end_matches(".md");
    [format!("crates/{name}/"), format!("{name}/")]
        .into_iter()
        .filter(|path| repository.has_path(path))
        .collect()
}
