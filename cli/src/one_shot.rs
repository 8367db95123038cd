//! `tohub -c …` and piped input: executes lines, prints their output and returns the exit code of
//! the first error.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};

use config::control::{Format, Response};
use program::Failure;

use crate::client::{Client, take_block};

/// Source of the lines.
pub(crate) enum Input<R> {
    /// The command line.
    Arguments(VecDeque<String>),
    /// A pipe or a file.
    Stream(BufReader<R>),
}

impl<R: Read> Input<R> {
    /// The next line and those that can be read without blocking. Empty at the end.
    fn lines_at_hand(&mut self) -> io::Result<VecDeque<String>> {
        let reader = match self {
            Input::Arguments(lines) => return Ok(std::mem::take(lines)),
            Input::Stream(reader) => reader,
        };
        let mut lines = VecDeque::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(lines);
            }
            let end = line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).len());
            line.truncate(end.unwrap_or(line.len()));
            lines.push_back(line);
            if !reader.buffer().contains(&b'\n') {
                return Ok(lines);
            }
        }
    }
}

/// Executes lines until the first error, the end of the session or the end of the input. Output
/// goes to standard output, errors to standard error. An error is preceded by its line behind the
/// prompt, so that the caret marks the right position.
pub(crate) fn run<R: Read>(mut client: Client, mut input: Input<R>, format: Format) -> Result<(), Failure> {
    loop {
        let lines = input.lines_at_hand();
        let mut lines = lines.map_err(|error| Failure::system("reading standard input", &error))?;
        if lines.is_empty() {
            return Ok(());
        }
        while !lines.is_empty() {
            let mut prompt = client.prompt().to_owned();
            // Configuration lines can be executed as a block; commands print their output one by
            // one.
            let together = client.is_configuring() && format == Format::Text;
            let sent =
                if together { take_block(&mut lines) } else { lines.pop_front().into_iter().collect() };
            let replies = match &sent[..] {
                [line] => vec![client.line(line, format)?],
                _ => client.block(sent.clone(), true)?,
            };
            for (line, response) in sent.iter().zip(&replies) {
                if response.password {
                    return Err(Failure::new(
                        Failure::FAILED,
                        "a password is asked for; begin with --privilege 15",
                    ));
                }
                if !response.status.is_ok() {
                    print_error(&prompt, line, response);
                    return Err(Failure::silent(response.status.code()));
                }
                if !print(&response.text)? || response.closed {
                    return Ok(());
                }
                prompt.clone_from(&response.prompt);
            }
        }
    }
}

/// Prints text; false if the reader of standard output has closed it.
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
