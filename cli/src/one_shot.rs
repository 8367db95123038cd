//! `tohub -c …` and piped input: lines in, text out, the exit code of the first error.

use std::io::{self, Write};

use config::control::{Format, Response};
use program::Failure;

use crate::client::Client;

/// Executes lines until the first error, the end of the session or the end of the lines. Text goes to standard output,
/// errors to standard error; there the line is echoed behind its prompt, so that a caret stands where it belongs.
pub(crate) fn run(
    mut client: Client,
    lines: impl Iterator<Item = io::Result<String>>,
    format: Format,
) -> Result<(), Failure> {
    for line in lines {
        let line = line.map_err(|error| Failure::system("reading standard input", &error))?;
        let prompt = client.prompt().to_owned();
        let response = client.line(&line, format)?;
        if response.password {
            return Err(Failure::new(Failure::FAILED, "a password is asked for; begin with --privilege 15"));
        }
        if !response.status.is_ok() {
            print_error(&prompt, &line, &response);
            return Err(Failure::silent(response.status.code()));
        }
        if !print(&response.text)? || response.closed {
            break;
        }
    }
    Ok(())
}

/// Prints text; false when the reader of our output has gone.
fn print(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::system("writing to standard output", &error)),
    }
}

fn print_error(prompt: &str, line: &str, response: &Response) {
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    eprint!("{prompt}{clean}\n{}", response.text);
}
