//! Measures of the source tree. Informational only: the output does not decide whether a change is
//! accepted.
//!
//! ```text
//! tohub-house                 every section, cut to what fits two screens
//! tohub-house twins unused    these sections, whole
//! tohub-house licences        licences and repeated packages against deny.toml; exit code 1 if refused
//! ```
#![forbid(unsafe_code)]

mod circles;
mod comments;
mod error;
mod functions;
mod licences;
mod metadata;
mod report;
mod source;
mod twins;
mod types;
mod unused;

use std::process::ExitCode;

use error::{HouseError, Result};
use report::{SECTIONS, Tree};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) =
        arguments.iter().find(|name| !SECTIONS.contains(&name.as_str()) && *name != "licences")
    {
        eprintln!("house: no section {unknown}; there are {} and licences", SECTIONS.join(", "));
        return ExitCode::from(2);
    }
    let result = match arguments.first().map(String::as_str) {
        Some("licences") => check_licences(),
        _ => print_sections(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("house: {error}");
        ExitCode::FAILURE
    })
}

fn print_sections(names: &[String]) -> Result<ExitCode> {
    let workspace = metadata::read(&std::env::current_dir().unwrap_or_default())?;
    let files = source::read(&workspace)?;
    let tree = Tree { workspace, files };
    for name in SECTIONS {
        let asked_for = names.iter().any(|asked| asked == name);
        if (names.is_empty() || asked_for)
            && let Some(section) = report::section(&tree, name)
        {
            print!("{}", section.text(asked_for));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check_licences() -> Result<ExitCode> {
    let workspace = metadata::read(&std::env::current_dir().unwrap_or_default())?;
    let path = workspace.root.join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| HouseError::Read { path, source })?;
    let violations = licences::Policy::parse(&text)?.violations(&workspace.third_party);
    for violation in &violations {
        println!("{violation}");
    }
    println!(
        "licences: {} packages, {} not allowed by deny.toml",
        workspace.third_party.len(),
        violations.len()
    );
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
