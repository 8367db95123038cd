//! Runs the boot guard, which closes the system and reports the required segment sizes.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use program::{Failure, find};
use sa_table::Capacities;

/// Maximum length of the line with the sizes in octets: eight numbers with their names need less
/// than 300.
const LONGEST_LINE: usize = 1024;

const REMEDY: &str = "install all programs of one release";

/// Runs `tohub-guard` to completion. Returns the sizes of the shared segments that the
/// configuration needs.
///
/// # Errors
/// It cannot be started; it failed, with its exit code, after printing the reason; or its output is
/// not a set of sizes within bounds.
pub(crate) fn close(run_dir: &Path, config: &Path) -> Result<Capacities, Failure> {
    let program = find("tohub-guard")?;
    let mut guard = Command::new(&program)
        .arg("--config")
        .arg(config)
        .arg("--run-dir")
        .arg(run_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::system(&format!("starting {}", program.display()), &error))?;
    let mut printed = Vec::new();
    let read = match guard.stdout.take() {
        // One octet more reveals a line that is too long. Writing the rest of it fails with a
        // closed pipe.
        Some(output) => output.take(LONGEST_LINE as u64 + 1).read_to_end(&mut printed),
        None => Ok(0),
    };
    let status = guard
        .wait()
        .map_err(|error| Failure::system(&format!("waiting for {}", program.display()), &error))?;
    match status.code() {
        Some(0) => {}
        Some(code) => return Err(Failure::silent(u8::try_from(code).unwrap_or(Failure::FAILED))),
        None => {
            let text = format!("{} was killed; start again", program.display());
            return Err(Failure::new(Failure::FAILED, text));
        }
    }
    read.map_err(|error| Failure::system(&format!("reading from {}", program.display()), &error))?;
    sizes(&printed)
        .map_err(|reason| Failure::new(Failure::FAILED, format!("{}: {reason}", program.display())))
}

/// Reads the one line of JSON that the guard prints.
fn sizes(printed: &[u8]) -> Result<Capacities, String> {
    if printed.len() > LONGEST_LINE {
        return Err(format!("it printed more than {LONGEST_LINE} octets instead of the sizes; {REMEDY}"));
    }
    let text = std::str::from_utf8(printed).map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').filter(|line| !line.contains('\n'));
    let line = line.ok_or_else(|| format!("it printed no single line with the sizes; {REMEDY}"))?;
    Capacities::from_json(line).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_guard_is_read() {
        let line = format!("{}\n", Capacities::default().to_json());
        assert_eq!(sizes(line.as_bytes()), Ok(Capacities::default()));
        assert!(line.len() < 300, "{}", line.len());
    }

    #[test]
    fn anything_else_is_refused() {
        let line = Capacities::default().to_json();
        let long = format!("{line}{}\n", " ".repeat(LONGEST_LINE));
        for printed in ["", "\n", "{}\n", &line, &format!("{line}\n{line}\n"), &format!("{line} 1\n"), &long]
        {
            assert!(sizes(printed.as_bytes()).is_err(), "{printed}");
        }
        assert!(sizes(b"\xff\n").is_err());
        let beyond = Capacities { policies: u32::MAX, ..Capacities::default() }.to_json();
        assert!(sizes(format!("{beyond}\n").as_bytes()).is_err(), "{beyond}");
    }
}
