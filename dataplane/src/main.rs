//! The `tohub-dataplane` process.

use std::process::ExitCode;

use clap::Parser;
use dataplane::process::run;
use dataplane::process::settings::Settings;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let settings = Settings::parse();
    if let Err(error) = start_log(&settings) {
        eprintln!("tohub-dataplane: --log {:?}: {error}", settings.log);
        return ExitCode::from(2);
    }
    match run::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tohub-dataplane: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn start_log(settings: &Settings) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if settings.log_json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}
