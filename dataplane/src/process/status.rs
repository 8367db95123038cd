//! The status socket: one JSON object for each connection, for `show tohub dataplane`.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sa_table::{RuntimeReader, WorkerId};
use serde_json::{Map, Value, json};

use crate::count::counter::Counter;
use crate::count::drop_reason::DropReason;

/// The listening socket; its file is removed with it.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Listens at `path`, mode 0600, replacing a file left by a dead process. The caller holds the
    /// instance's lock.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Readable when a client is waiting.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers all waiting clients. A client that does not read loses the answer.
    pub fn serve(&self, report: impl Fn() -> Value) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let answered = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
                .and_then(|()| stream.write_all(format!("{}\n", report()).as_bytes()));
            if let Err(error) = answered {
                tracing::debug!(%error, "a status reader went away");
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // A missing file is not an error.
        let _ = fs::remove_file(&self.path);
    }
}

const PATIENCE: Duration = Duration::from_millis(500);

/// The counters of each worker, by name; counters at zero are left out of `drops`.
#[must_use]
pub fn workers(runtime: &RuntimeReader, cores: &[usize], now_ms: u64) -> Value {
    let one = |(index, core): (u16, &usize)| {
        let id = WorkerId(index);
        let status = runtime.worker(id);
        let counters = runtime.counters(id);
        let drops = runtime.drops(id);
        json!({
            "worker": index,
            "core": core,
            "heartbeat_age_ms": status.map(|status| now_ms.saturating_sub(status.heartbeat_ms)),
            "policy_version": status.and_then(|status| status.policy_version).map(|version| version.0),
            "counters": named(Counter::ALL.iter().map(|one| one.name()), &counters, false),
            "drops": named(DropReason::ALL.iter().map(|one| one.name()), &drops, true),
        })
    };
    Value::Array((0..).zip(cores).map(one).collect())
}

/// Sums of all workers' drops, by name, zeros included.
#[must_use]
pub fn drops(runtime: &RuntimeReader, workers: usize) -> Value {
    let mut sums = [0_u64; sa_table::DROP_COUNTERS];
    for index in (0..).take(workers) {
        let drops = runtime.drops(WorkerId(index));
        sums.iter_mut().zip(drops).for_each(|(sum, n)| *sum += n);
    }
    named(DropReason::ALL.iter().map(|one| one.name()), &sums, false)
}

fn named(names: impl Iterator<Item = &'static str>, values: &[u64], skip_zero: bool) -> Value {
    let entries = names.zip(values).filter(|(_, value)| !skip_zero || **value != 0);
    Value::Object(entries.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn each_connection_gets_one_object_and_the_file_goes_with_the_socket() {
        let path = std::env::temp_dir().join(format!("tohub-status-{}.sock", std::process::id()));
        fs::write(&path, "left by a dead process").unwrap();
        let socket = StatusSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut reader = UnixStream::connect(&path).unwrap();
        socket.serve(|| json!({"mode": "copy"}));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"mode\":\"copy\"}\n");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn drops_are_named_and_zeros_left_out() {
        let mut values = [0; 64];
        values[DropReason::NoRoute as usize] = 3;
        let value = named(DropReason::ALL.iter().map(|one| one.name()), &values, true);
        assert_eq!(value, json!({DropReason::NoRoute.name(): 3}));
    }
}
