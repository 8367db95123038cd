//! `tohub-failover`: the thirteen worked scenarios of the preferred peer on real packets, with
//! timers ten times as fast.
//!
//! Each scenario builds its own network, and counts clear text on the branch's wire throughout. The
//! figures go to the file that is named on the command line, the verdict to the last line of the
//! output.
#![forbid(unsafe_code)]

mod bench;
mod report;
mod scenarios;

use std::process::ExitCode;

use lab::command::interrupt_flag;

use report::Figures;

fn main() -> ExitCode {
    match run() {
        Ok(summary) => {
            println!("failover: PASS {summary}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("failover: FAIL {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    if !lab::namespace::available("failover") {
        return Err("it makes network namespaces and needs root".to_owned());
    }
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupt_flag().clone()).map_err(|error| error.to_string())?;
    }
    let (page, only): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.parse::<usize>().is_err());
    let mut figures = Vec::new();
    for scenario in scenarios::ALL
        .iter()
        .filter(|scenario| only.is_empty() || only.contains(&scenario.number.to_string()))
    {
        println!("{:>2}. {}", scenario.number, scenario.title);
        let measured: Figures =
            bench::play(scenario).map_err(|error| format!("scenario {}: {error}", scenario.number))?;
        println!("    {measured}");
        figures.push((scenario, measured));
    }
    if let Some(page) = page.first() {
        std::fs::write(page, report::page(&figures)).map_err(|error| format!("writing {page}: {error}"))?;
    }
    Ok(report::summary(&figures))
}
