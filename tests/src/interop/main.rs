//! `tohub-interop`: tohub against third-party IPsec implementations, in namespaces, with real
//! traffic.
//!
//! `tohub-interop strongswan [PAGE] [WORDS...]` tests against strongSwan 5 and 6,
//! `tohub-interop kernel …` against a Linux kernel in a virtual machine, keyed manually, by
//! strongSwan and by libreswan. PAGE (a file ending in `.md`) gets the table; WORDS choose the
//! cases whose names contain all of them. The verdict is the last line of the output.
#![forbid(unsafe_code)]

mod algorithms;
mod bench;
mod case;
mod kernel;
mod ping;
mod plays;
mod report;
mod runner;
mod strongswan;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use lab::command::interrupt_flag;

use case::Case;
use runner::Outcome;

/// Number of strongSwan cases run in parallel (each mostly waits), unless set by `INTEROP_WORKERS`.
const WORKERS: usize = 4;

/// Runs a suite and returns the outcome of each case.
type Suite = fn(&Choice) -> Result<Vec<Outcome>, String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (label, run): (_, Suite) = match arguments.next().as_deref() {
        Some("strongswan") => ("interop", play_strongswan),
        Some("kernel") => ("interop-kernel", kernel::play),
        _ => {
            eprintln!("usage: tohub-interop strongswan|kernel [PAGE.md] [WORDS...]");
            return ExitCode::from(2);
        }
    };
    let (pages, words): (Vec<String>, Vec<String>) = arguments.partition(|word| word.ends_with(".md"));
    let choice = Choice { page: pages.first().map(PathBuf::from), words };
    match prepare().and_then(|()| run(&choice)) {
        Ok(outcomes) => verdict(label, &outcomes),
        Err(why) => {
            println!("{label}: FAIL {why}");
            ExitCode::FAILURE
        }
    }
}

/// The command line options.
#[derive(Debug)]
pub struct Choice {
    /// Output file of the table.
    pub page: Option<PathBuf>,
    /// Words that a case's name must contain.
    pub words: Vec<String>,
}

impl Choice {
    /// The chosen cases with their numbers in the table.
    pub fn of(&self, cases: Vec<Case>) -> Vec<(usize, Case)> {
        (1..).zip(cases).filter(|(_, case)| self.takes(&case.name())).collect()
    }

    /// Whether a case of this name is chosen.
    pub fn takes(&self, name: &str) -> bool {
        self.words.iter().all(|word| name.contains(word.as_str()))
    }

    /// Writes the table of a whole run, if a page was named.
    pub fn report(
        &self,
        section: report::Section,
        versions: &str,
        outcomes: &[Outcome],
    ) -> Result<(), String> {
        match &self.page {
            Some(page) if self.words.is_empty() => report::write(page, section, versions, outcomes),
            _ => Ok(()),
        }
    }
}

fn prepare() -> Result<(), String> {
    if !lab::namespace::available("interop") {
        return Err("it makes network namespaces and needs root".to_owned());
    }
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupt_flag().clone()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn play_strongswan(choice: &Choice) -> Result<Vec<Outcome>, String> {
    lab::peer::install(&["strongswan5", "strongswan6"])
        .map_err(|error| format!("the peers could not be installed: {error}"))?;
    let versions = ["strongswan5", "strongswan6"].map(lab::peer::version).join(", ");
    let cases = choice.of(strongswan::all());
    let workers =
        std::env::var("INTEROP_WORKERS").ok().and_then(|count| count.parse().ok()).unwrap_or(WORKERS);
    let outcomes = runner::play_all(&cases, workers, None);
    choice.report(report::Section::StrongSwan, &versions, &outcomes)?;
    everything_was_played(cases.len(), outcomes)
}

/// An interrupted run is not a success.
pub fn everything_was_played(cases: usize, outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, String> {
    if cases == 0 {
        return Err("no case has such a name".to_owned());
    }
    if outcomes.len() < cases {
        return Err(format!("interrupted after {} of {cases} cases", outcomes.len()));
    }
    Ok(outcomes)
}

fn verdict(label: &str, outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<&str> =
        outcomes.iter().filter(|o| o.failure.is_some()).map(|o| o.name.as_str()).collect();
    if failed.is_empty() {
        println!("{label}: PASS cases={}", outcomes.len());
        ExitCode::SUCCESS
    } else {
        println!("{label}: FAIL {} of {}: {}", failed.len(), outcomes.len(), failed.join("; "));
        ExitCode::FAILURE
    }
}
