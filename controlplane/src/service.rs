//! The service around the gateway: one thread with one main loop, which does the I/O and makes no
//! decisions.

mod held_back;
mod kernel;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use config::shell::CommandError;
use rtnetlink::MulticastGroup;
use rustix::time::{ClockId, clock_gettime};
use sa_table::{Checkpoint, EventReceiver, PULSE_PERIOD, PolicyVersion, Pulse};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock::Scale;
use crate::control::{self, ControlEvent, SessionId};
use crate::gateway::{Gateway, Output};
use crate::interfaces::{Kernel, KernelRoute};
use crate::names::{Answer, NameError};
use crate::operator::Facts;
use crate::pki::{Material, Pki};
use crate::report::Message;
use crate::resolver::NameService;
use crate::sockets::{Datagram, SocketError, Sockets};
use held_back::HeldBack;
use sessions::Dialogue;

/// Number of log lines kept for `show logging`.
const LOG_LINES: usize = 200;

/// Interval at which CRL files are checked for changes.
const CRL_INTERVAL: Duration = Duration::from_secs(10);

/// Delay after a change of a device or an address, to collect further changes.
const DEVICE_SETTLING: Duration = Duration::from_millis(100);

/// The parameters of the service.
pub struct Service {
    /// The gateway, without configuration yet.
    pub gateway: Gateway,
    /// Its clock.
    pub scale: Scale,
    /// Events of the data plane.
    pub events: EventReceiver,
    /// Signals to the supervisor that the loop runs.
    pub pulse: Pulse,
    /// Where checkpoints are written.
    pub checkpoint: Checkpoint,
    /// The configuration as read at start-up.
    pub configuration: config::Configuration,
    /// The run directory.
    pub run_dir: PathBuf,
    /// Where `write memory` writes.
    pub config_file: PathBuf,
}

/// Why the service ended, other than by an orderly stop.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The control socket could not be opened.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// An IKE socket could not be opened at start-up.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A kernel request failed.
    #[error(transparent)]
    Kernel(#[from] crate::interfaces::KernelError),
    /// Another operating system error.
    #[error("{what}: {source}")]
    System {
        /// The operation.
        what: &'static str,
        /// The error.
        source: std::io::Error,
    },
    /// The configuration does not fit into the segments.
    #[error("{0}")]
    NoRoom(#[from] crate::room::NoRoom),
    /// Another control plane has taken over the table.
    #[error("another control plane has taken over the table; this one stops")]
    Superseded,
}

impl ServiceError {
    /// The exit code (ARCHITECTURE.md).
    pub fn exit_code(&self) -> u8 {
        match self {
            ServiceError::Control(control::ControlError::Running(_)) | ServiceError::Superseded => 9,
            ServiceError::Socket(SocketError::InUse(_)) => 8,
            ServiceError::Socket(SocketError::Open { source, .. }) | ServiceError::System { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                4
            }
            // The supervisor creates larger segments for the configuration.
            ServiceError::NoRoom(_) => 10,
            _ => 1,
        }
    }
}

/// The running service.
struct Running {
    gateway: Gateway,
    scale: Scale,
    checkpoint: Checkpoint,
    kernel: Kernel,
    sockets: Sockets,
    facts: Facts,
    sessions: BTreeMap<SessionId, Dialogue>,
    /// Sessions that continue in the next iterations of the loop.
    turning: VecDeque<SessionId>,
    /// Passed to tasks, which return their result on it.
    work: mpsc::Sender<Finished>,
    kernel_is_stale: bool,
    /// Reverse routes as added to the kernel.
    routes: BTreeMap<crate::routes::ReverseRoute, KernelRoute>,
    held_back: HeldBack,
    /// The policy version at the time datagrams were last sent.
    policy_version: PolicyVersion,
    /// Addresses and links have been set once, and IKE is served.
    serves: bool,
    reported: BTreeSet<String>,
    /// When the CRL files were last checked.
    crls_checked: std::time::Instant,
    stop: bool,
}

/// The result of a task.
enum Finished {
    Program(SessionId, Result<String, CommandError>),
    Name(String, Result<Answer, NameError>),
    /// Resolution of the name in a line of a session.
    Typed(SessionId, String, Result<Answer, NameError>),
}

/// Serves until SIGTERM, SIGINT or `reload`.
///
/// # Errors
/// Whatever prevents it from serving.
pub async fn run(service: Service) -> Result<(), ServiceError> {
    let system = |what: &'static str| move |source| ServiceError::System { what, source };
    let listener = control::bind(&service.run_dir)?;
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut notices) =
        rtnetlink::new_multicast_connection(&groups).map_err(system("opening the netlink socket"))?;
    tokio::task::spawn_local(connection);

    let (datagrams, mut incoming) = mpsc::channel::<Datagram>(256);
    let (requests, mut control_events) = mpsc::channel::<ControlEvent>(64);
    let (work, mut finished) = mpsc::channel::<Finished>(64);
    let mut running = Running {
        gateway: service.gateway,
        scale: service.scale,
        checkpoint: service.checkpoint,
        kernel: Kernel::new(handle),
        sockets: Sockets::new(datagrams),
        facts: Facts {
            run_dir: service.run_dir,
            config_file: service.config_file,
            started: std::time::Instant::now(),
            log: VecDeque::new(),
            time_scale: service.scale.factor(),
            material: Material::default(),
            interfaces_wait: true,
            debugs_ike: false,
            brought_up: None,
        },
        crls_checked: std::time::Instant::now(),
        sessions: BTreeMap::new(),
        turning: VecDeque::new(),
        work,
        kernel_is_stale: false,
        routes: BTreeMap::new(),
        held_back: HeldBack::default(),
        policy_version: PolicyVersion(0),
        serves: false,
        reported: BTreeSet::new(),
        stop: false,
    };
    running.start(service.configuration).await?;

    let (mut events, mut pulse) = (service.events, service.pulse);
    let wake = events.wake_descriptor().try_clone_to_owned().map_err(system("the event descriptor"))?;
    let wake = watch(wake).map_err(system("the event descriptor"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals"))?;
    tokio::task::spawn_local(control::serve(listener, requests));
    let mut devices_changed: Option<tokio::time::Instant> = None;

    while !running.stop {
        pulse.beat();
        running.drain(&mut events);
        // Timers have priority: a flood of datagrams must not delay dead peer detection.
        running.timers();
        running.carry_out().await;
        running.bring_up().await?;
        if !running.gateway.is_current() {
            return Err(ServiceError::Superseded);
        }
        let deadline = running.sleep_until();
        let settle = devices_changed.unwrap_or_else(|| deadline + Duration::from_secs(3600));
        tokio::select! {
            _ = terminate.recv() => running.stop = true,
            _ = interrupt.recv() => running.stop = true,
            ready = wake.readable() => {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
                events.clear_wake();
            }
            Some(datagram) = incoming.recv() => {
                let now = running.now();
                running.gateway.handle_datagram(now, datagram.from, datagram.to, &datagram.bytes);
            }
            () = std::future::ready(()), if !running.turning.is_empty() => running.turn_session().await?,
            Some(event) = control_events.recv() => running.control(event).await?,
            Some(done) = finished.recv() => running.finished(done).await?,
            Some(_) = futures::StreamExt::next(&mut notices) => {
                devices_changed.get_or_insert_with(|| tokio::time::Instant::now() + DEVICE_SETTLING);
            }
            () = tokio::time::sleep_until(settle) => {
                devices_changed = None;
                running.refresh_devices().await;
            }
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
    running.shut_down().await;
    Ok(())
}

#[allow(deprecated, reason = "the successor is unsafe; an OwnedFd names one open file for all its life")]
fn watch(descriptor: std::os::fd::OwnedFd) -> std::io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// The wall-clock time since 1970.
fn unix_time() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// CLOCK_MONOTONIC.
fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Running {
    fn now(&self) -> Duration {
        self.scale.scaled(monotonic())
    }

    fn timers(&mut self) {
        let now = self.now();
        self.gateway.set_unix_time(now, unix_time());
        if self.crls_checked.elapsed() >= CRL_INTERVAL {
            self.crls_checked = std::time::Instant::now();
            if self.facts.material.is_stale() {
                let configuration = self.gateway.configuration().clone();
                self.facts.read_pki(&configuration);
                self.gateway.renew_pki(now, Pki::new(&configuration, &self.facts.material));
            }
        }
        if now >= self.gateway.deadline() {
            self.gateway.handle_timeout(now);
        }
    }

    fn sleep_until(&self) -> tokio::time::Instant {
        let wait = self.scale.real(self.gateway.deadline().saturating_sub(self.now()));
        let waits = self.facts.interfaces_wait || !self.held_back.is_empty();
        let wait = if waits { wait.min(held_back::LOOK_AGAIN) } else { wait };
        // At least 1 ms, so that an expired deadline cannot cause a busy loop, and at most the
        // interval in which the supervisor expects a sign of life.
        tokio::time::Instant::now() + wait.clamp(Duration::from_millis(1), PULSE_PERIOD)
    }

    /// Publishes the policy; addresses, links, routes and sockets follow when the guard covers the
    /// devices.
    async fn start(&mut self, configuration: config::Configuration) -> Result<(), ServiceError> {
        self.gateway.check_room(&configuration)?;
        let devices = self.kernel.devices(&configuration, true).await?;
        let now = self.now();
        self.facts.read_pki(&configuration);
        self.gateway.set_pki(Pki::new(&configuration, &self.facts.material));
        self.gateway.set_unix_time(now, unix_time());
        self.gateway.configure(now, configuration, devices);
        self.carry_out().await;
        Ok(())
    }

    /// Processes all waiting events. Sleeping is allowed only after the rings were found empty with
    /// the wake-up requested.
    fn drain(&mut self, events: &mut EventReceiver) {
        // Bounded, so that a flood of events does not delay the timers; the rest is processed in
        // the next iteration.
        for _ in 0..1024 {
            let Some((_, event)) = events.receive().or_else(|| events.arm()) else { return };
            let now = self.now();
            self.gateway.handle_event(now, &event);
        }
    }

    /// Carries out the gateway's output.
    async fn carry_out(&mut self) {
        // Before the datagrams: after receiving one, the peer may rely on the state stored here.
        let now = self.now();
        if let Some(memory) = self.gateway.checkpoint(now)
            && let Err(error) = self.checkpoint.store(&memory)
        {
            self.trouble(&error);
        }
        let (mut datagrams, mut changes) = (Vec::new(), Vec::new());
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Transmit(transmit) => datagrams.push(transmit),
                Output::Log(message) => self.log(&message),
                Output::IkeLog(record) => self.log_ike(&record),
                Output::Route(change) => changes.push(change),
                Output::Resolve(name) => self.resolve(name),
            }
        }
        self.send_behind_routes(datagrams, changes).await;
    }

    fn log(&mut self, message: &Message) {
        let text = message.to_string();
        match message.severity() {
            0..=3 => tracing::error!("{text}"),
            4 => tracing::warn!("{text}"),
            _ => tracing::info!("{text}"),
        }
        self.keep(text);
    }

    /// For `show logging`.
    fn keep(&mut self, text: String) {
        if self.facts.log.len() == LOG_LINES {
            self.facts.log.pop_front();
        }
        self.facts.log.push_back(text);
    }

    fn log_ike(&mut self, record: &ike::LogRecord) {
        let (peer, text) = (record.peer, &record.text);
        match record.level {
            ike::LogLevel::Debug if self.facts.debugs_ike => {
                tracing::info!(%peer, "debug: {text}");
                self.keep(format!("IKE {peer}: {text}"));
            }
            ike::LogLevel::Debug => tracing::debug!(%peer, "{text}"),
            ike::LogLevel::Info => tracing::info!(%peer, "{text}"),
            ike::LogLevel::Warning => tracing::warn!(%peer, "{text}"),
        }
    }

    /// Logs an error once, until something changes.
    fn trouble(&mut self, error: &dyn std::fmt::Display) {
        let text = error.to_string();
        if self.reported.insert(text.clone()) {
            self.log(&Message::Trouble(text));
        }
    }

    fn addresses(&self) -> BTreeSet<std::net::IpAddr> {
        self.gateway.local_addresses()
    }

    fn name_service(&self) -> NameService {
        NameService::from(&*self.gateway.configuration().system)
    }

    fn resolve(&self, name: String) {
        let (work, service) = (self.work.clone(), self.name_service());
        tokio::task::spawn_local(async move {
            let answer = service.resolve(&name).await;
            let _ = work.send(Finished::Name(name, answer)).await;
        });
    }

    /// Orderly shutdown: notifies the peers and removes the routes of SAs. The data plane keeps
    /// holding the protected traffic.
    async fn shut_down(&mut self) {
        let now = self.now();
        self.gateway.shut_down(now);
        self.carry_out().await;
        let _ = std::fs::remove_file(self.facts.run_dir.join(config::control::SOCKET_NAME));
        tracing::info!("control plane stopped");
    }
}
