//! Probes: measurements of the traffic through a tunnel. The sending and echoing ends are
//! `tohub-lab` programs inside the hosts' namespaces; this side reads their reports.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::command::{LabError, Result, describe, wait_for};
use crate::gateway::program;
use crate::namespace::Namespace;

/// Milliseconds of CLOCK_MONOTONIC, the clock of every report.
pub fn now_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A program of the laboratory running in a namespace; killed when dropped.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    /// Commands to the program, if it reads any.
    pub stdin: Option<ChildStdin>,
}

impl Helper {
    /// Starts `tohub-lab ARGUMENTS` and returns it with a reader of its output.
    pub fn start(
        namespace: &Namespace,
        arguments: &[&str],
    ) -> Result<(Self, BufReader<std::process::ChildStdout>)> {
        let mut command = namespace.command(&program("tohub-lab")?.to_string_lossy());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(|source| LabError::Start { command: describe(&command), source })?;
        let output =
            child.stdout.take().ok_or_else(|| LabError::Unexpected("a helper without output".to_owned()))?;
        let stdin = child.stdin.take();
        Ok((Self { child, stdin }, BufReader::new(output)))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A UDP echo server on a port; lives as long as the value.
pub fn echo_server(namespace: &Namespace, port: u16) -> Result<Helper> {
    let (helper, mut output) = Helper::start(namespace, &["echo", &port.to_string()])?;
    let mut line = String::new();
    output.read_line(&mut line).map_err(LabError::io("reading the echo server"))?;
    if line.trim() != "ready" {
        return Err(LabError::Unexpected(format!("the echo server said {line:?}")));
    }
    Ok(helper)
}

/// Statistics of the packets sent in a time span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Requests sent.
    pub sent: u64,
    /// Requests whose echo never came.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Log {
    /// sequence → (sent at, echo came at)
    packets: BTreeMap<u64, (u64, Option<u64>)>,
}

/// A stream of small UDP requests, one every interval, each answered by the echo server if the
/// tunnel carries both ways.
#[derive(Debug)]
pub struct Probe {
    helper: Helper,
    log: Arc<Mutex<Log>>,
}

impl Probe {
    /// Starts sending at once.
    pub fn start(namespace: &Namespace, target: &str, interval_ms: u32) -> Result<Self> {
        let (helper, output) = Helper::start(namespace, &["probe", target, &interval_ms.to_string()])?;
        let log = Arc::new(Mutex::new(Log::default()));
        let reader_log = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in output.lines().map_while(std::result::Result::ok) {
                record(&mut lock(&reader_log), &line);
            }
        });
        Ok(Self { helper, log })
    }

    /// Stops sending until [`Probe::resume`]; echoes still count.
    pub fn pause(&mut self) -> Result<()> {
        self.tell("pause")
    }

    /// Sends again.
    pub fn resume(&mut self) -> Result<()> {
        self.tell("resume")
    }

    /// Packets sent between two times (of [`now_ms`]).
    pub fn count(&self, from: u64, to: u64) -> Count {
        let log = lock(&self.log);
        let mut count = Count::default();
        for (sent, echoed) in log.packets.values().filter(|(sent, _)| (from..to).contains(sent)) {
            let _ = sent;
            count.sent += 1;
            count.lost += u64::from(echoed.is_none());
        }
        count
    }

    /// The longest time without any echo, between two times, in milliseconds: the outage seen by a
    /// user.
    pub fn longest_silence(&self, from: u64, to: u64) -> u64 {
        let log = lock(&self.log);
        let mut echoes: Vec<u64> = log
            .packets
            .values()
            .filter_map(|(_, echoed)| *echoed)
            .filter(|time| (from..to).contains(time))
            .collect();
        echoes.sort_unstable();
        let mut longest = 0;
        let mut previous = from;
        for time in echoes.into_iter().chain([to]) {
            longest = longest.max(time.saturating_sub(previous));
            previous = time;
        }
        longest
    }

    /// Time of the first echo at or after `since`, if one came.
    pub fn first_echo_since(&self, since: u64) -> Option<u64> {
        lock(&self.log).packets.values().filter_map(|(_, echoed)| *echoed).filter(|time| *time >= since).min()
    }

    /// Waits for an echo that comes from now on.
    pub fn wait_for_echo(&self, seconds: u64) -> Result<u64> {
        let since = now_ms();
        wait_for("an answer through the tunnel", seconds, || self.first_echo_since(since))
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        let stdin = self
            .helper
            .stdin
            .as_mut()
            .ok_or_else(|| LabError::Unexpected("the probe has no input".to_owned()))?;
        writeln!(stdin, "{word}").map_err(LabError::io("speaking to the probe"))
    }
}

fn record(log: &mut Log, line: &str) {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(Ok(sequence)), Some(Ok(time))) =
        (words.next(), words.next().map(str::parse::<u64>), words.next().map(str::parse::<u64>))
    else {
        return;
    };
    match kind {
        "sent" => {
            log.packets.entry(sequence).or_insert((time, None)).0 = time;
        }
        "echo" => {
            log.packets.entry(sequence).or_insert((time, None)).1 = Some(time);
        }
        _ => {}
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Result of a TCP transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes received.
    pub bytes: u64,
    /// Whether the SHA-256 of sent and received data is equal.
    pub intact: bool,
    /// From connect to the end of the stream.
    pub milliseconds: u64,
}

/// Sends `megabytes` of pseudo-random bytes by TCP from one host to another and compares checksums.
/// Fails after `seconds`.
pub fn tcp_transfer(
    from: &Namespace,
    to: &Namespace,
    address: &str,
    port: u16,
    megabytes: u32,
    seconds: u64,
) -> Result<Transfer> {
    let (_sink, mut sink_output) = Helper::start(to, &["tcp-sink", &port.to_string(), &seconds.to_string()])?;
    let mut line = String::new();
    sink_output.read_line(&mut line).map_err(LabError::io("reading the TCP receiver"))?;
    let started = now_ms();
    let sender = from
        .command(&program("tohub-lab")?.to_string_lossy())
        .args(["tcp-send", &format!("{address}:{port}"), &megabytes.to_string(), &seconds.to_string()])
        .output()
        .map_err(LabError::io("running the TCP sender"))?;
    let sent = String::from_utf8_lossy(&sender.stdout).trim().to_owned();
    if !sender.status.success() {
        return Err(LabError::Unexpected(format!(
            "the TCP transfer failed: {}",
            String::from_utf8_lossy(&sender.stderr)
        )));
    }
    line.clear();
    sink_output.read_line(&mut line).map_err(LabError::io("reading the TCP receiver"))?;
    let received = line.trim();
    let bytes = received.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Transfer { bytes, intact: !sent.is_empty() && sent == received, milliseconds: now_ms() - started })
}
