//! Threads of this program that run in a namespace. A socket belongs to the namespace in which its
//! thread opened it.

use std::sync::mpsc;
use std::thread::JoinHandle;

use lab::command::{LabError, Result};
use lab::namespace::Namespace;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Starts a thread in the namespace. `open` runs there first; its error is the error of this
/// function. `run` gets its result.
pub fn spawn<T>(
    namespace: &Namespace,
    open: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    run: impl FnOnce(T) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let path = format!("/run/netns/{}", namespace.name());
    let (report, opened) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let made = enter(&path).and_then(|()| open());
        match made {
            Ok(made) => {
                let _ = report.send(Ok(()));
                run(made);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    });
    match opened.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(source)) => {
            Err(LabError::Io { what: format!("opening sockets in namespace {}", namespace.name()), source })
        }
        Err(_) => Err(LabError::Unexpected("a thread of the laboratory died at its start".to_owned())),
    }
}

/// Runs a short function in the namespace and returns what it gives.
pub fn call<T: Send + 'static>(
    namespace: &Namespace,
    act: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let (give, taken) = mpsc::channel();
    let thread = spawn(namespace, act, move |value| {
        let _ = give.send(value);
    })?;
    let value = taken.recv().map_err(|_| LabError::Unexpected("a thread of the laboratory died".to_owned()));
    let _ = thread.join();
    value
}

fn enter(path: &str) -> std::io::Result<()> {
    use std::os::fd::AsFd as _;
    let namespace = std::fs::File::open(path)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
