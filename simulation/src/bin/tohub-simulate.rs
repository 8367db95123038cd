//! `tohub-simulate`: predicts what a configuration does when peers become unreachable and
//! reachable, without a gateway and within milliseconds. `tohub simulate` executes it.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use program::{Failure, conclude};
use simulation::predict::{PredictError, Prediction, Scenario, predict};

/// Predicts what a gateway with this configuration does when peers fail and return. Starts nothing.
#[derive(Debug, Parser)]
#[command(name = "tohub-simulate", version)]
struct Arguments {
    /// The configuration file of the gateway.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// An event: "t=10s down 10.1.1.1"; also up PEER, restart PEER and clear. May be repeated.
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// Traffic of hosts: "icmp every 1s 0s..400s", optionally followed by "from A to B". May be
    /// repeated.
    #[arg(long = "traffic", value_name = "TRAFFIC")]
    traffic: Vec<String>,
    /// Also writes the timeline to this file, as an HTML page with a chart.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Prints the prediction as one JSON document.
    // `tohub` passes its own option before those of the subcommand.
    #[arg(long, overrides_with = "json")]
    json: bool,
}

fn main() -> ExitCode {
    // Errors are reported under the name of the command that executes this program.
    conclude("tohub", simulate(&Arguments::parse()))
}

/// Predicts and prints.
fn simulate(arguments: &Arguments) -> Result<(), Failure> {
    let text = read(&arguments.config)?;
    let events: Vec<&str> = arguments.events.iter().map(String::as_str).collect();
    let traffic: Vec<&str> = arguments.traffic.iter().map(String::as_str).collect();
    let name = arguments.config.display();
    let failed = |error: PredictError| match error {
        PredictError::Configuration(error) => Failure::new(Failure::REFUSED, format!("{name}: {error}")),
        PredictError::Nothing(error) => Failure::new(Failure::REFUSED, format!("{name}: {error}")),
        PredictError::Simulation(error) => Failure::new(Failure::MEMORY, error.to_string()),
        error @ (PredictError::Event { .. }
        | PredictError::Traffic { .. }
        | PredictError::UnknownPeer { .. }) => Failure::new(Failure::USAGE, error.to_string()),
    };
    let scenario = Scenario::parse(&text, &events, &traffic).map_err(failed)?;
    let prediction = predict(&scenario).map_err(failed)?;
    if let Some(file) = &arguments.html {
        std::fs::write(file, prediction.to_html())
            .map_err(|error| Failure::system(&format!("writing {}", file.display()), &error))?;
    }
    print(&prediction, arguments.json)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::system(&format!("reading the configuration {}", file.display()), &error))
}

fn print(prediction: &Prediction, json: bool) -> Result<(), Failure> {
    let text = if json {
        let document =
            prediction.to_json().map_err(|error| Failure::new(Failure::FAILED, error.to_string()))?;
        document + "\n"
    } else {
        prediction.to_text()
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::system("writing the prediction", &error)),
    }
}
