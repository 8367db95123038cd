//! A whole tohub gateway (supervisor, control plane, data plane) running in a namespace.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::command::{LabError, Result, checked, clean_up, describe, goes_wrong, settle, wait_for};
use crate::namespace::Namespace;

/// Path of a program of this build: beside the running test, or one folder up (cargo puts tests
/// into `deps/`).
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(LabError::io("finding this program"))?;
    own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists()).ok_or_else(
        || LabError::Unexpected(format!("{name} is not built: run `cargo build --workspace` first")),
    )
}

/// A running gateway. Dropping it stops it, releases its programs and removes its files.
#[derive(Debug)]
pub struct Gateway {
    namespace: Namespace,
    run_dir: PathBuf,
    supervisor: Option<Child>,
    tohub: PathBuf,
    time_scale: u32,
    environment: Vec<(String, String)>,
}

impl Gateway {
    /// Writes the configuration and starts `tohub supervise`; returns when the control socket
    /// answers and the data plane has its ports. `time_scale` divides every timer of the control
    /// plane.
    pub fn start(namespace: Namespace, configuration: &str, time_scale: u32) -> Result<Self> {
        let mut gateway = Self::prepare(namespace, configuration, time_scale)?;
        gateway.launch()?;
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// The same without starting it: makes the run directory and writes the configuration.
    pub fn prepare(namespace: Namespace, configuration: &str, time_scale: u32) -> Result<Self> {
        let run_dir = PathBuf::from(format!("/run/{}", namespace.name()));
        std::fs::create_dir_all(&run_dir).map_err(LabError::io(format!("making {}", run_dir.display())))?;
        let gateway = Self {
            namespace,
            run_dir,
            supervisor: None,
            tohub: program("tohub")?,
            time_scale,
            environment: Vec::new(),
        };
        gateway.write_configuration(configuration)?;
        Ok(gateway)
    }

    /// Starts the supervisor (again, after [`Gateway::stop`]).
    pub fn launch(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(LabError::io("opening a gateway's log"))?;
        let mut command = self.namespace.command("setsid");
        command
            .arg(&self.tohub)
            .arg("--run-dir")
            .arg(&self.run_dir)
            .arg("supervise")
            .arg("--config")
            .arg(self.configuration_file())
            .args(["--time-scale", &self.time_scale.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(LabError::io("sharing a log"))?)
            .stderr(log);
        let child =
            command.spawn().map_err(|source| LabError::Start { command: describe(&command), source })?;
        self.supervisor = Some(child);
        Ok(())
    }

    /// Sets a variable of the environment that the supervisor is started in from now on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The exit status of the supervisor, if it has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.supervisor.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Whether both processes work: the control plane accepts connections and the data plane
    /// reports that it is ready. Starts no process, so it is cheap to call.
    pub fn is_ready(&self) -> bool {
        self.dataplane_status().is_some_and(|status| status["state"] == "ready")
            && UnixStream::connect(self.run_dir.join("control.sock")).is_ok()
    }

    /// The report of the data plane's status socket, if it answers.
    pub fn dataplane_status(&self) -> Option<serde_json::Value> {
        let mut answer = String::new();
        UnixStream::connect(self.run_dir.join("dataplane.sock")).ok()?.read_to_string(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    /// Waits until both processes work: the control plane answers and the data plane reports that
    /// it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            if let Some(Ok(Some(status))) = self.supervisor.as_mut().map(Child::try_wait) {
                return Err(LabError::Unexpected(format!(
                    "{}: the supervisor ended ({status}):\n{}",
                    self.namespace.name(),
                    self.log_tail()
                )));
            }
            let answer = self.json("show tohub dataplane");
            if answer.as_ref().is_ok_and(|status| status["state"] == "ready") {
                return Ok(());
            }
            if std::time::Instant::now() > deadline {
                return Err(LabError::Unexpected(format!(
                    "{} did not become ready in 30 s (last answer: {answer:?}); its log ends:\n{}",
                    self.namespace.name(),
                    self.log_tail()
                )));
            }
            crate::command::sleep_ms(100)?;
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its run directory.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Runs one command line through `tohub -c` and returns the text; an IOS error is an error.
    pub fn cli(&self, line: &str) -> Result<String> {
        checked(self.tohub_command().args(["-c", line]))
    }

    /// Runs a `show … | json` command.
    pub fn json(&self, line: &str) -> Result<serde_json::Value> {
        let text = self.cli(&format!("{line} | json"))?;
        serde_json::from_str(&text)
            .map_err(|error| LabError::Unexpected(format!("`{line} | json` gave no JSON ({error}): {text}")))
    }

    /// Enters configuration lines, as after `configure terminal`.
    pub fn configure(&self, lines: &[&str]) -> Result<String> {
        let mut command = self.tohub_command();
        command.args(["-c", "configure terminal"]);
        for line in lines {
            command.args(["-c", line]);
        }
        command.args(["-c", "end"]);
        checked(&mut command)
    }

    /// `tohub` with this gateway's run directory, inside its namespace.
    pub fn tohub_command(&self) -> std::process::Command {
        let mut command = self.namespace.command(&self.tohub.to_string_lossy());
        command.arg("--run-dir").arg(&self.run_dir);
        command
    }

    /// Process id of one of its processes (`tohub-dataplane`, `tohub-controlplane`), if it runs.
    pub fn pid_of(&self, program: &str) -> Option<i32> {
        self.namespace.processes().into_iter().find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(first).ends_with(program)
            })
        })
    }

    /// Process id of the supervisor, while it runs.
    pub fn supervisor_pid(&self) -> Option<i32> {
        self.supervisor.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Kills one of its processes without warning (SIGKILL) and returns the pid that it had.
    pub fn kill(&self, program: &str) -> Result<i32> {
        let pid = self.pid_of(program).ok_or_else(|| {
            LabError::Unexpected(format!("{program} does not run in {}", self.namespace.name()))
        })?;
        signal(pid, rustix::process::Signal::KILL);
        Ok(pid)
    }

    /// Stops one of its processes (SIGSTOP), so that it exists but does nothing, and returns its
    /// pid.
    pub fn freeze(&self, program: &str) -> Result<i32> {
        let pid = self.pid_of(program).ok_or_else(|| {
            LabError::Unexpected(format!("{program} does not run in {}", self.namespace.name()))
        })?;
        signal(pid, rustix::process::Signal::STOP);
        Ok(pid)
    }

    /// Waits until a process runs again under another pid.
    pub fn wait_for_restart(&self, program: &str, old_pid: i32) -> Result<i32> {
        wait_for(&format!("{program} to be restarted"), 15, || {
            self.pid_of(program).filter(|pid| *pid != old_pid)
        })
    }

    /// Stops the gateway cleanly (SIGTERM to the supervisor). Its guard programs stay attached
    /// until the release.
    pub fn stop(&mut self) {
        let Some(mut child) = self.supervisor.take() else { return };
        if let Ok(pid) = i32::try_from(child.id()) {
            signal(pid, rustix::process::Signal::TERM);
        }
        if !settle(8, || !matches!(child.try_wait(), Ok(None))) {
            eprintln!("{}: the supervisor did not stop in 8 s, killed", self.namespace.name());
            self.namespace.end_processes();
            let _ = child.wait();
        }
    }

    /// Removes the pinned programs (`tohub release`).
    pub fn release(&self) -> Result<String> {
        checked(self.tohub_command().arg("release"))
    }

    /// The log of all processes of the gateway.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines of the log, for error messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Replaces the stored configuration.
    pub fn write_configuration(&self, text: &str) -> Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.configuration_file())
            .map_err(LabError::io("writing a gateway's configuration"))?;
        file.write_all(text.as_bytes()).map_err(LabError::io("writing a gateway's configuration"))
    }

    /// Path of its configuration.
    pub fn configuration_file(&self) -> PathBuf {
        self.run_dir.join("startup-config")
    }

    fn log_file(&self) -> PathBuf {
        self.run_dir.join("log")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        if goes_wrong() || std::env::var_os("TOHUB_LAB_LOGS").is_some() {
            eprintln!("──── log of {} ends ────\n{}", self.namespace.name(), self.log_tail());
        }
        match clean_up(self.tohub_command().arg("release")) {
            Ok(released) if released.status.success() => {}
            other => eprintln!("{}: not released: {other:?}", self.namespace.name()),
        }
        let _ = std::fs::remove_dir_all(&self.run_dir);
    }
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
