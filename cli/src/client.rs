//! Client of the control socket.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use config::control::{Format, MAX_LINE, Request, Response, SOCKET_NAME, decode, encode};
use program::Failure;

/// Maximum number of lines in a block.
const BLOCK_LINES: usize = 1000;

/// Maximum size of a block in bytes; its response may be longer.
const BLOCK_BYTES: usize = MAX_LINE / 8;

/// Removes from the front as many lines as fit into one block, at least one.
pub(crate) fn take_block(lines: &mut VecDeque<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |line: &&String| {
        bytes += line.len();
        bytes <= BLOCK_BYTES
    };
    let count = lines.iter().take(BLOCK_LINES).take_while(fits).count().max(1).min(lines.len());
    lines.drain(..count).collect()
}

/// A CLI session of a running gateway.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    reader: BufReader<UnixStream>,
    /// Prompt of the last response.
    prompt: String,
    /// Page length in lines, 0 for no pager.
    page: u16,
}

impl Client {
    /// Connects and opens a session.
    pub fn connect(run_dir: &Path, width: u16, privilege: u8) -> Result<Self, Failure> {
        let path = run_dir.join(SOCKET_NAME);
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Failure::new(
                Failure::PERMISSION,
                format!("{}: permission denied; the control socket is for root: run tohub as root", path.display()),
            ),
            _ => Failure::new(
                Failure::NOT_LISTENING,
                format!(
                    "{}: no process is listening ({error}); start the gateway with \"tohub supervise --config FILE\", \
                     or name its run directory with --run-dir",
                    path.display()
                ),
            ),
        })?;
        let mut client = Self { path, reader: BufReader::new(stream), prompt: String::new(), page: 0 };
        client.ask(&Request::Open { width, privilege })?;
        Ok(client)
    }

    /// Current prompt of the session.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// Page length of the session in lines, 0 for no pager.
    pub fn page(&self) -> u16 {
        self.page
    }

    /// Executes a line.
    pub fn line(&mut self, line: &str, format: Format) -> Result<Response, Failure> {
        self.ask(&Request::Line { line: line.into(), format })
    }

    /// Whether the session is in a configuration mode, judging by its prompt.
    pub fn is_configuring(&self) -> bool {
        self.prompt.ends_with(")#")
    }

    /// Executes lines as if each were sent alone, except that their configuration takes effect
    /// together. Returns one response for each executed line. With `stops`, execution ends at the
    /// first line that fails.
    pub fn block(&mut self, lines: Vec<String>, stops: bool) -> Result<Vec<Response>, Failure> {
        Ok(self.ask(&Request::Block { lines, stops })?.replies)
    }

    /// Sends one request and waits for its response without a timeout.
    pub fn ask(&mut self, request: &Request) -> Result<Response, Failure> {
        let message = encode(request).map_err(|error| Failure::new(Failure::FAILED, error.to_string()))?;
        let sent = self.reader.get_mut().write_all(message.as_bytes());
        sent.map_err(|error| self.lost(&error.to_string()))?;
        let mut answer = Vec::new();
        let limit = u64::try_from(MAX_LINE + 1).unwrap_or(u64::MAX);
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut answer);
        read.map_err(|error| self.lost(&error.to_string()))?;
        if answer.is_empty() {
            return Err(self.lost("it closed the connection"));
        }
        let text = String::from_utf8_lossy(&answer);
        let response: Response =
            decode(&text).map_err(|error| Failure::new(Failure::FAILED, error.to_string()))?;
        self.prompt.clone_from(&response.prompt);
        self.page = response.page;
        Ok(response)
    }

    fn lost(&self, reason: &str) -> Failure {
        let path = self.path.display();
        Failure::new(
            Failure::NOT_LISTENING,
            format!("{path}: the control plane is gone ({reason}); it restarts by itself, try again"),
        )
    }
}
