//! The claims of a page in a form that can be checked: code spans, first columns of tables of
//! modules, links, make targets.

/// One thing that a page names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A code span.
    Span(String),
    /// A code span in the first column of a table of modules or files.
    Module(String),
    /// The target of a link, without its anchor.
    Link(String),
    /// A target of `make`.
    Target(String),
}

/// The claims of a page with their line numbers.
pub(crate) fn claims(text: &str) -> Vec<(usize, Claim)> {
    let mut claims = Vec::new();
    let (mut is_code, mut is_module_table) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            continue;
        }
        if is_code {
            claims.extend(target(line).map(|target| (number, Claim::Target(target))));
            continue;
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.trim_start().starts_with('|') {
            is_module_table = false;
        } else if matches!(cells[0], "module" | "file" | "room") {
            is_module_table = true;
        }
        let first_column = if is_module_table { cells[0] } else { "" };
        for span in spans(line) {
            if let Some(target) = target(span) {
                claims.push((number, Claim::Target(target)));
            } else if spans(first_column).any(|module| module == span) {
                claims.push((number, Claim::Module(span.to_owned())));
            } else {
                claims.push((number, Claim::Span(span.to_owned())));
            }
        }
        for (_, rest) in line.match_indices("](").map(|(at, mark)| line.split_at(at + mark.len())) {
            let link = rest.split([')', '#']).next().unwrap_or("");
            if !link.is_empty() && !link.contains("://") {
                claims.push((number, Claim::Link(link.to_owned())));
            }
        }
    }
    claims
}

/// The texts between single back quotes.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|span| !span.is_empty())
}

/// The target in `make target …`.
fn target(text: &str) -> Option<String> {
    let word = text.strip_prefix("make ")?.split_whitespace().next()?;
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-').then(|| word.to_owned())
}

#[test]
fn claims_are_found_in_text_tables_links_and_code() {
    let page = "See `a/b.rs` and [x](../y.md#z), `make fast`.\n\n| module | what |\n|---|---|\n| `m`, `n` | uses `T` |\n\n\
                ```\nmake slow X=1\n`not`\n```\n[web](https://x)";
    let span = |text: &str| Claim::Span(text.into());
    let module = |text: &str| Claim::Module(text.into());
    let expected = vec![
        (1, span("a/b.rs")),
        (1, Claim::Target("fast".into())),
        (1, Claim::Link("../y.md".into())),
        (5, module("m")),
        (5, module("n")),
        (5, span("T")),
        (8, Claim::Target("slow".into())),
    ];
    assert_eq!(claims(page), expected);
}
