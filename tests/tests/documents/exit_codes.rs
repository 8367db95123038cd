//! Exit codes.

use std::collections::BTreeSet;

use crate::repository::Repository;

/// Programs whose exit codes are those of the table in ARCHITECTURE.md.
const PROGRAMS: [&str; 6] = [
    "cli/src/",
    "controlplane/src/",
    "crates/program/src/",
    "dataplane/src/",
    "guard/src/",
    "supervise/src/",
];

#[test]
fn the_table_of_exit_codes_is_that_of_the_code() {
    let repository = Repository::read();
    let mut in_code = BTreeSet::from([0, 1]);
    for path in PROGRAMS.iter().flat_map(|program| repository.rust(program)) {
        in_code.extend(codes_of(&repository.text(path)));
    }
    let table = table(&repository.text("ARCHITECTURE.md"));
    assert_eq!(table, in_code.into_iter().collect::<Vec<_>>(), "ARCHITECTURE.md, and the code");
}

#[test]
fn the_pages_of_programs_name_codes_that_exist() {
    let repository = Repository::read();
    let table = table(&repository.text("ARCHITECTURE.md"));
    let client = numbers(&section(&repository, "docs/cli.md", "## Scripts"));
    assert!(client.iter().all(|code| table.contains(code)), "docs/cli.md: {client:?}");
    let stated = numbers(&section(&repository, "docs/dataplane-host.md", "## Exit codes"));
    let in_code: BTreeSet<u8> =
        repository.rust("dataplane/src/").flat_map(|path| codes_of(&repository.text(path))).collect();
    assert_eq!(stated, in_code, "docs/dataplane-host.md, and the code");
}

/// The text below a heading, up to the next one.
fn section(repository: &Repository, page: &str, heading: &str) -> String {
    let text = repository.text(page);
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("{page} has no {heading}"));
    rest.split("\n## ").next().unwrap_or("").to_owned()
}

/// The codes of the table, sorted.
fn table(architecture: &str) -> Vec<u8> {
    let section = architecture.split("## Exit codes").nth(1).unwrap();
    let rows = section
        .lines()
        .skip(1)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let mut codes: Vec<u8> =
        rows.flat_map(|row| row.split('|').map(str::trim)).filter_map(|cell| cell.parse().ok()).collect();
    codes.sort_unstable();
    codes
}

/// Numbers that are followed or preceded like codes: cells of a table, `code N`, or `N meaning ·`.
fn numbers(section: &str) -> BTreeSet<u8> {
    let cells =
        section.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|').map(str::trim));
    let items = section.split('·').filter_map(|item| item.split_whitespace().next());
    let named =
        section.split("code ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    cells.chain(items).chain(named).filter_map(|text| text.parse().ok()).collect()
}

/// Codes that a source file ends a program with: constants of a failure type, arguments of
/// constructors, arms of functions whose name contains `code`.
fn codes_of(source: &str) -> Vec<u8> {
    let source = source.split("#[cfg(test)]").next().unwrap_or("");
    let is_failure = source.contains("impl Failure") || source.contains("struct Failure");
    let mut codes = Vec::new();
    let mut code_function = false;
    for line in source.lines() {
        if line.contains("fn ") {
            code_function = line.contains("code(") && line.contains("-> u8");
        }
        let literal = |after: &str| {
            line.split_once(after)
                .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u8>().ok())
        };
        if is_failure && line.contains("const ") && line.contains(": u8 =") {
            codes.extend(literal(": u8 = "));
        }
        codes.extend(literal("Failure("));
        codes.extend(literal("ExitCode::from("));
        if code_function {
            codes.extend(literal("=> "));
        }
    }
    codes
}

#[test]
fn codes_are_found_where_they_are_made() {
    let source = "struct Failure;\nimpl Failure { pub const A: u8 = 3; }\nfn f() { Failure(7, x) }\n\
                  fn exit_code(&self) -> u8 { match self {\n A => 9,\n } }\nfn other() { match x { B => 77, } }\n\
                  #[cfg(test)]\nmod tests { fn x() { ExitCode::from(99) } }";
    assert_eq!(codes_of(source), [3, 7, 9]);
    assert_eq!(
        table("## Exit codes\n\n| code | m | | code | m |\n|---|---|\n| 0 | a | | 6 | b |\n\n| 9 |"),
        [0, 6]
    );
}
