//! Pings, each of which must be answered.
//!
//! One process of `ping` with several packets waits, after the first answer, only for twice the
//! longest round trip time: on a busy machine it misses late answers. So each packet has its own
//! process with the whole timeout.

use lab::Result;
use lab::command::{LabError, checked};
use lab::namespace::Namespace;
use lab::peer::Stranger;

/// `count` pings with `size` octets of data to `target`, each with a timeout of `patience` seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pings<'a> {
    pub target: &'a str,
    pub source: Option<&'a str>,
    pub count: u32,
    pub size: u32,
    pub patience: u32,
}

impl<'a> Pings<'a> {
    /// Small pings.
    pub fn new(target: &'a str, count: u32, patience: u32) -> Self {
        Self { target, source: None, count, size: 56, patience }
    }

    /// With this number of octets of data.
    pub fn of_size(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// From this address.
    pub fn with_source(self, source: &'a str) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Sends them from a namespace.
    pub fn send_from(self, namespace: &Namespace) -> Result<()> {
        (0..self.count).try_for_each(|number| {
            let mut command = namespace.command("ping");
            let result = checked(command.args(self.arguments()));
            result.map(drop).map_err(|error| self.unanswered(number, &error))
        })
    }

    /// Sends them from the peer, all in one call, since a call into a virtual machine is slow.
    pub fn send_by(self, stranger: &Stranger) -> Result<()> {
        let ping = format!("ping {}", self.arguments().join(" "));
        let script = format!("for number in $(seq {}); do {ping} || exit 1; done", self.count);
        let result = stranger.exec(&["sh", "-c", &script]);
        result.map(drop).map_err(|error| self.unanswered(0, &error))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["-c", "1", "-W"].map(str::to_owned).to_vec();
        arguments.extend([self.patience.to_string(), "-s".to_owned(), self.size.to_string()]);
        arguments.extend(self.source.iter().flat_map(|source| ["-I".to_owned(), (*source).to_owned()]));
        arguments.push(self.target.to_owned());
        arguments
    }

    fn unanswered(&self, number: u32, error: &LabError) -> LabError {
        LabError::Unexpected(format!("a ping after {number} answered ones was lost: {error}"))
    }
}
