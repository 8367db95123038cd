//! The control socket: `RUN_DIR/control.sock`, for root only, one CLI session per connection.
//!
//! Connections are read here and their requests handed to the main loop one at a time, with a place for the answer; what
//! a request means is the business of [`crate::operator`].

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::control::{MAX_LINE, Request, Response, SOCKET_NAME, decode, encode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Connections at a time.
const MAX_SESSIONS: usize = 64;

/// A connection, named for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happens on a connection.
#[derive(Debug)]
pub enum ControlEvent {
    /// A request, and where its answer goes.
    Request {
        /// Whose.
        session: SessionId,
        /// What is asked.
        request: Request,
        /// Where the answer goes, exactly one.
        answer: Answer,
    },
    /// The connection has ended.
    Closed(SessionId),
}

/// The place for the answer to a request.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<(Response, oneshot::Sender<()>)>);

impl Answer {
    /// Hands the response to its connection. The receiver is ready when the response has been written out, or cannot be
    /// because the connection has ended: whoever stops the process waits for it.
    pub fn send(self, response: Response) -> oneshot::Receiver<()> {
        let (written, receiver) = oneshot::channel();
        // A connection that has ended drops both: the receiver is ready at once.
        let _ = self.0.send((response, written));
        receiver
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody answers on it.
    #[error(
        "{0} is served already: another control plane runs with this --run-dir; stop it or choose another"
    )]
    Running(PathBuf),
    /// It cannot be made.
    #[error("control socket {path}: {source}; the run directory must exist and be writable")]
    Bind {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Makes the socket, in place of one that a killed process left behind.
///
/// # Errors
/// If another process serves it, or it cannot be made.
pub fn bind(run_dir: &Path) -> Result<UnixListener, ControlError> {
    let path = run_dir.join(SOCKET_NAME);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(ControlError::Running(path));
    }
    let failed = |source| ControlError::Bind { path: path.clone(), source };
    // Bound in a folder that only this user may enter, and moved into its place with its mode: it is
    // closed to others from its first moment, without the process-wide umask.
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

/// Accepts connections for ever.
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

/// Root, or whoever this process runs as.
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
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE + 1).unwrap_or(u64::MAX);
        (&mut reader).take(limit).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let request = std::str::from_utf8(&line)
            .map_err(io::Error::other)
            .and_then(|text| decode::<Request>(text).map_err(io::Error::other))?;
        let (answer, answered) = oneshot::channel();
        if events.send(ControlEvent::Request { session, request, answer: Answer(answer) }).await.is_err() {
            return Ok(());
        }
        let Ok((response, written)) = answered.await else { return Ok(()) };
        let text = encode(&response).map_err(io::Error::other)?;
        writer.write_all(text.as_bytes()).await?;
        let _ = written.send(());
        if response.closed {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
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
                let Some(ControlEvent::Request { answer, .. }) = events.recv().await else { panic!() };
                let response = Response { text: "bye".into(), ..Response::default() };
                answer.send(response).await.unwrap();
            })
            .await;
        // Nobody serves the connection any more; what was written is there.
        drop(local);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("bye"), "{text}");
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
