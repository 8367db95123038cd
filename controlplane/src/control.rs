//! The control socket `RUN_DIR/control.sock`, accessible to root only. Each connection is one CLI
//! session.
//!
//! Requests are read here and passed to the main loop, each with a channel for its response. All
//! requests that are waiting on a connection are passed in one batch, so that pasted lines can be
//! committed together. [`crate::operator`] interprets the requests.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::control::{MAX_LINE, Request, Response, SOCKET_NAME, decode, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Maximum size of one batch of requests, in bytes.
const MAX_BURST: usize = 1 << 20;

/// Size of one read, in bytes.
const READ: usize = 1 << 16;

/// Maximum number of concurrent connections.
const MAX_SESSIONS: usize = 64;

/// ID of a connection, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// An event on a connection.
#[derive(Debug)]
pub enum ControlEvent {
    /// Waiting requests in order, each with the channel for its response.
    Requests {
        /// The connection.
        session: SessionId,
        /// The requests; at least one.
        requests: Vec<(Request, Answer)>,
    },
    /// The connection was closed.
    Closed(SessionId),
}

/// The response channel of a request.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<(Response, oneshot::Sender<()>)>);

impl Answer {
    /// Passes the response to its connection. The receiver completes when the response has been
    /// written, or when the connection has ended; a process that stops waits for it.
    pub fn send(self, response: Response) -> oneshot::Receiver<()> {
        let (written, receiver) = oneshot::channel();
        // If the connection has ended, both channels are dropped and the receiver completes at
        // once.
        let _ = self.0.send((response, written));
        receiver
    }
}

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process is listening on it.
    #[error(
        "{0} is served already: another control plane runs with this --run-dir; stop it or choose another"
    )]
    Running(PathBuf),
    /// The socket could not be created.
    #[error("control socket {path}: {source}; the run directory must exist and be writable")]
    Bind {
        /// Path of the socket.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Creates the socket and replaces one that a killed process left behind.
///
/// # Errors
/// If another process is listening on it, or it cannot be created.
pub fn bind(run_dir: &Path) -> Result<UnixListener, ControlError> {
    let path = run_dir.join(SOCKET_NAME);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(ControlError::Running(path));
    }
    let failed = |source| ControlError::Bind { path: path.clone(), source };
    // Bound in a directory that only this user can enter, then renamed into place with its final
    // mode: it is never accessible to others, and the process-wide umask is not changed.
    let folder = run_dir.join(".new");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
    let bound = folder.join(SOCKET_NAME);
    let listener = UnixListener::bind(&bound).map_err(failed)?;
    std::fs::set_permissions(&bound, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    std::fs::rename(&bound, &path).map_err(failed)?;
    std::fs::remove_dir(&folder).map_err(failed)?;
    Ok(listener)
}

/// Accepts connections until the process ends.
pub async fn serve(listener: UnixListener, events: mpsc::Sender<ControlEvent>) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_SESSIONS));
    for number in 1.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if !is_trusted(&stream) {
            tracing::warn!("control socket: a connection of another user was refused");
            continue;
        }
        let Ok(place) = std::sync::Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("control socket: more than {MAX_SESSIONS} connections, one was refused");
            continue;
        };
        let events = events.clone();
        tokio::task::spawn_local(async move {
            let session = SessionId(number);
            if let Err(error) = converse(stream, session, &events).await {
                tracing::debug!(%error, "control connection");
            }
            let _ = events.send(ControlEvent::Closed(session)).await;
            drop(place);
        });
    }
}

/// The peer is trusted if it runs as root or as the user of this process.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn converse(
    stream: UnixStream,
    session: SessionId,
    events: &mpsc::Sender<ControlEvent>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = Lines::new(reader);
    while let Some(lines) = reader.next_burst().await? {
        let mut bad = None;
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for line in lines {
            match request_of(&line) {
                Ok(request) => {
                    let (answer, answered) = oneshot::channel();
                    requests.push((request, Answer(answer)));
                    answers.push(answered);
                }
                Err(error) => {
                    bad = Some(error);
                    break;
                }
            }
        }
        if !requests.is_empty() && events.send(ControlEvent::Requests { session, requests }).await.is_err() {
            return Ok(());
        }
        for answered in answers {
            let Ok((response, written)) = answered.await else { return Ok(()) };
            let text = encode(&response).map_err(io::Error::other)?;
            writer.write_all(text.as_bytes()).await?;
            let _ = written.send(());
            if response.closed {
                return Ok(());
            }
        }
        if let Some(error) = bad {
            return Err(error);
        }
    }
    Ok(())
}

fn request_of(line: &[u8]) -> io::Result<Request> {
    let text = std::str::from_utf8(line).map_err(io::Error::other)?;
    decode::<Request>(text).map_err(io::Error::other)
}

/// Splits a connection's input into batches of lines.
struct Lines {
    reader: OwnedReadHalf,
    /// Bytes read after the last line that was returned.
    rest: Vec<u8>,
}

impl Lines {
    fn new(reader: OwnedReadHalf) -> Self {
        Lines { reader, rest: Vec::new() }
    }

    /// All complete lines that have arrived, at least one; `None` at the end of the connection. The
    /// last line of a connection may lack its newline.
    async fn next_burst(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut searched = 0;
        let end = loop {
            if let Some(at) = self.rest[searched..].iter().rposition(|byte| *byte == b'\n') {
                break searched + at + 1;
            }
            searched = self.rest.len();
            self.rest.reserve(READ);
            // The line is too long: it is returned as it is, and decoding rejects it.
            if searched > MAX_LINE || self.reader.read_buf(&mut self.rest).await? == 0 {
                break searched;
            }
            self.read_what_waits();
        };
        if end == 0 {
            return Ok(None);
        }
        let rest = self.rest.split_off(end);
        let burst = std::mem::replace(&mut self.rest, rest);
        Ok(Some(burst.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()))
    }

    fn read_what_waits(&mut self) {
        while self.rest.len() < MAX_BURST {
            self.rest.reserve(READ);
            match self.reader.try_read_buf(&mut self.rest) {
                // An error or the end of the connection is seen again by the next read.
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use config::control::Format;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let first = bind(folder.path()).unwrap();
        let mode = std::fs::metadata(folder.path().join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(bind(folder.path()), Err(ControlError::Running(_))));
        drop(first);
        assert!(bind(folder.path()).is_ok());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_is_known_to_be_written_before_the_process_may_stop() {
        let folder = tempfile::tempdir().unwrap();
        let listener = bind(folder.path()).unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve(listener, sender));
        let mut stream = UnixStream::connect(folder.path().join(SOCKET_NAME)).await.unwrap();
        local
            .run_until(async {
                let request = encode(&Request::Open { width: 0, privilege: 15 }).unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let Some(ControlEvent::Requests { mut requests, .. }) = events.recv().await else { panic!() };
                let response = Response { text: "bye".into(), ..Response::default() };
                requests.remove(0).1.send(response).await.unwrap();
            })
            .await;
        // The server side has closed the connection; the data written before must still be
        // readable.
        drop(local);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("bye"), "{text}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn requests_that_wait_come_in_one_burst_and_are_answered_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let listener = bind(folder.path()).unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve(listener, sender));
        local
            .run_until(async {
                let mut stream = UnixStream::connect(folder.path().join(SOCKET_NAME)).await.unwrap();
                let line = |number: u32| Request::Line { line: number.to_string(), format: Format::Text };
                // The last line is incomplete.
                let text: String = (0..3).map(|number| encode(&line(number)).unwrap()).collect();
                let (now, later) = text.split_at(text.len() - 5);
                stream.write_all(now.as_bytes()).await.unwrap();
                let Some(ControlEvent::Requests { requests, .. }) = events.recv().await else { panic!() };
                let asked: Vec<Request> = requests.iter().map(|(request, _)| request.clone()).collect();
                assert_eq!(asked, [line(0), line(1)]);
                for (number, (_, answer)) in requests.into_iter().enumerate() {
                    answer.send(Response { text: format!("{number}\n"), ..Response::default() });
                }
                stream.write_all(later.as_bytes()).await.unwrap();
                let Some(ControlEvent::Requests { requests, .. }) = events.recv().await else { panic!() };
                assert_eq!(requests[0].0, line(2));
                drop(requests);
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                let answers = text.lines().map(|line| decode::<Response>(line).unwrap().text);
                assert_eq!(answers.collect::<Vec<_>>(), ["0\n", "1\n"]);
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_that_is_no_request_ends_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let listener = bind(folder.path()).unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve(listener, sender));
        local
            .run_until(async {
                let mut stream = UnixStream::connect(folder.path().join(SOCKET_NAME)).await.unwrap();
                stream.write_all(b"GET / HTTP/1.0\n").await.unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                assert!(rest.is_empty());
                assert!(matches!(events.recv().await, Some(ControlEvent::Closed(_))));
            })
            .await;
    }
}
