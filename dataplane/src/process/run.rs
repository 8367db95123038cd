//! The life of the process: attach to the segments, guard the ports, run workers, follow
//! configuration and device changes, and stop with the kernel programs left in place, which keep
//! dropping.

mod opening;
mod report;
mod sources;

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use esp::AeadBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sa_table::guard::{InForce, fingerprint};
use sa_table::{
    Descriptors, Locking, PolicyReadError, PolicyVersion, Pulse, RuntimeReader, TableReader, WorkerId,
    take_listen_fds,
};

use crate::failure::Failure;
use crate::host::kernel::{Forwarding, KernelView, Netlink, PortDevices};
use crate::host::ports::{Bindings, Ports};
use crate::host::punt::{PuntCounters, PuntPort};
use crate::path::mailbox::Wake;
use crate::policy::Policy;
use crate::policy::filter::Filters;
use crate::process::closing::{Former, close_new_devices, covered};
use crate::process::engine::{Engine, Parts};
use crate::process::guarded::{Guard, SharedGuard, locked};
use crate::process::hygiene::{self, Hygiene};
use crate::process::instance::Instance;
use crate::process::settings::Settings;
use crate::process::status::StatusSocket;
use crate::process::worker::monotonic_ms;
use crate::xdp::{Attached, KernelPolicy, Programs, everywhere};

use opening::{open_punt, start_mirror, worker_cores};
use sources::Sources;

/// Runs the data plane until SIGTERM or SIGINT. Call it first in `main`: it takes over the
/// descriptors passed by the parent.
///
/// # Errors
/// The failure that ended the process; [`Failure::exit_code`] is its exit code.
pub fn run(settings: &Settings) -> Result<(), Failure> {
    let descriptors = take_listen_fds(Locking::BestEffort)?;
    let hygiene = hygiene::apply();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Failure::system("catch signals"))?;
    }
    let mut plane = Dataplane::open(settings, descriptors, hygiene)?;
    tracing::info!(instance = plane.instance.name(), aead = plane.backend.name(), pins = %plane.programs.pins().display(), "data plane ready, waiting for a policy");
    while !stop.load(Ordering::Relaxed) {
        plane.look_around()?;
        plane.pause();
    }
    tracing::info!("stopping; the programs on the ports stay and drop protected traffic");
    plane.end();
    Ok(())
}

struct Dataplane<'a> {
    settings: &'a Settings,
    descriptors: Descriptors,
    pulse: Pulse,
    hygiene: Hygiene,
    instance: Instance,
    /// Held as long as the process lives: a second data plane of the instance is refused.
    _lock: File,
    table: TableReader,
    runtime: RuntimeReader,
    netlink: Netlink,
    programs: Programs,
    forwarding: Forwarding,
    punt: PuntPort,
    sources: Sources,
    punt_counters: Arc<PuntCounters>,
    kernel: Arc<KernelView>,
    port_devices: Arc<PortDevices>,
    /// Woken by the mirror when a device appears, disappears or changes.
    link_news: Arc<Wake>,
    mirror: std::thread::JoinHandle<Result<(), crate::host::kernel::NetlinkError>>,
    cores: Vec<usize>,
    backend: AeadBackend,
    status: StatusSocket,
    ports: Ports,
    bindings: Bindings,
    guard: SharedGuard,
    attached: Vec<(String, Attached)>,
    /// The rules repeated as policy-routing rules.
    fence: Vec<sa_table::Rule>,
    engine: Option<Engine>,
    /// The filters of that policy, for their counters.
    filters: Arc<Filters>,
    /// The newest policy that was applied.
    version: PolicyVersion,
    /// The newest policy until every worker uses it: then the rules of the former policy are
    /// removed.
    uncommitted: Option<KernelPolicy>,
    devices_seen: Instant,
    /// Set after a device disappeared while the policy was applied: the policy is not applied again
    /// before this time.
    not_before: Option<Instant>,
    /// A device appeared, disappeared or changed since the last check.
    news_came: bool,
    elsewhere_reported: Option<Instant>,
    /// What is closed more coarsely than by the rules.
    limits: Vec<String>,
}

impl<'a> Dataplane<'a> {
    fn open(settings: &'a Settings, mut descriptors: Descriptors, hygiene: Hygiene) -> Result<Self, Failure> {
        let pulse = descriptors.pulse();
        let instance = Instance::of(&settings.run_dir, settings.instance.as_deref())?;
        let lock = instance.lock()?;
        let table = descriptors.table_reader()?;
        let runtime = descriptors.runtime_reader()?;
        let backend = match &settings.aead {
            None => AeadBackend::preferred(),
            Some(name) => AeadBackend::by_name(name).map_err(|error| Failure::Usage(error.to_string()))?,
        };
        let cores = worker_cores(settings)?;
        let programs = Programs::load(instance.name())?;
        let netlink = Netlink::open()?;
        let forwarding = Forwarding::new(instance.run_dir());
        close_new_devices(&instance, &forwarding, &netlink.devices()?)?;
        let (punt, punt_ifindex) = open_punt(&netlink, &instance, &forwarding)?;
        let guard = Arc::new(Mutex::new(Guard::load(&instance, Some(punt.name()))?));
        // Before anything else: devices may have appeared since the boot guard looked.
        crate::process::watch::start(&guard)?;
        let sources = Sources::new(instance.local_traffic(), punt_ifindex);
        let status = StatusSocket::bind(&instance.status_socket())
            .map_err(Failure::system(format!("listen at {}", instance.status_socket().display())))?;
        let (kernel, port_devices) = (Arc::new(KernelView::default()), Arc::new(PortDevices::default()));
        let link_news =
            Arc::new(Wake::new().map_err(|error| Failure::system("make an eventfd")(error.into()))?);
        let wake = Arc::clone(&link_news);
        port_devices.on_link_news(move || wake.wake());
        let mirror = start_mirror(&kernel, &port_devices)?;
        Ok(Self {
            settings,
            descriptors,
            pulse,
            hygiene,
            instance,
            _lock: lock,
            table,
            runtime,
            netlink,
            programs,
            forwarding,
            punt,
            sources,
            punt_counters: Arc::new(PuntCounters::default()),
            kernel,
            port_devices,
            link_news,
            mirror,
            cores,
            backend,
            status,
            ports: Ports::default(),
            bindings: Bindings::default(),
            guard,
            attached: Vec::new(),
            fence: Vec::new(),
            engine: None,
            filters: Arc::default(),
            version: PolicyVersion(0),
            uncommitted: None,
            devices_seen: Instant::now(),
            not_before: None,
            news_came: true,
            elsewhere_reported: None,
            limits: Vec::new(),
        })
    }

    /// One turn of housekeeping.
    fn look_around(&mut self) -> Result<(), Failure> {
        self.link_news.awake();
        self.port_devices.read_change(self.table.kernel_changes());
        let version = self.table.policy_version();
        let started = self.version != PolicyVersion(0);
        let due = self.devices_seen.elapsed() >= DEVICE_PERIOD;
        let (again, may_try) =
            (self.not_before.is_some(), self.not_before.is_none_or(|at| Instant::now() >= at));
        let has_news = started && (due || self.news_came) && self.devices_changed(due)?;
        if may_try && (again || has_news || version != self.version) {
            self.not_before = None;
            match self.apply() {
                // A device disappeared or changed while the policy was applied. Everything stays
                // closed: old rules are removed only after a policy is applied completely.
                Err(failure) if self.has_worked() && failure.exit_code() == OF_A_DEVICE => {
                    tracing::warn!("{failure}; looking again");
                    self.not_before = Some(Instant::now() + AGAIN);
                    self.uncommitted = None;
                }
                result => result?,
            }
        }
        if started && due {
            self.devices_seen = Instant::now();
            let generation = self.kernel.load().generation();
            self.sources.refresh(&self.netlink, generation)?;
            self.report_elsewhere();
        }
        self.news_came = false;
        self.commit()?;
        if self.mirror.is_finished() {
            return Err(Failure::Thread("kernel mirror".to_owned(), "its netlink socket failed".to_owned()));
        }
        if let Some(engine) = &mut self.engine {
            // Checked first, because workers end by themselves when they are superseded.
            if !engine.shared.runtime.is_current() {
                return Err(Failure::Superseded(engine.shared.runtime.incarnation()));
            }
            if let Some(failure) = engine.failed() {
                return Err(failure);
            }
        }
        self.status.serve(|| self.report());
        if self.workers_live() {
            self.pulse.beat();
        }
        Ok(())
    }

    /// Whether every worker has run its loop recently. A worker that hangs forwards no packets.
    fn workers_live(&self) -> bool {
        let Some(engine) = &self.engine else { return true };
        let now_ms = monotonic_ms();
        let lives = |worker| {
            let status = self.runtime.worker(WorkerId(worker));
            status.is_some_and(|status| now_ms.saturating_sub(status.heartbeat_ms) < WORKER_PATIENCE_MS)
        };
        (0..).take(engine.cores.len()).all(lives)
    }

    /// Whether this data plane, or a former one on the same segments, has carried packets: a
    /// missing device is then not treated as a configuration error.
    fn has_worked(&self) -> bool {
        self.engine.is_some() || self.runtime.incarnation() > 0
    }

    /// Sleeps until the status is requested, a device changes, or a turn is due.
    fn pause(&mut self) {
        self.link_news.about_to_sleep();
        let turn = if self.uncommitted.is_some() { &SHORT_TURN } else { &TURN };
        let mut fds = [
            PollFd::from_borrowed_fd(self.status.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.link_news.fd(), PollFlags::IN),
        ];
        // A signal interrupts the sleep, as intended.
        let _ = poll(&mut fds, Some(turn));
        let [_, news] = fds;
        self.news_came = news.revents().contains(PollFlags::IN);
    }

    /// Whether ports have to be bound again, or a device lacks a program. With `verify` the
    /// attached programs are checked.
    fn devices_changed(&mut self, verify: bool) -> Result<bool, Failure> {
        let devices = self.netlink.devices()?;
        if verify {
            let mut guard = locked(&self.guard);
            guard.verify();
            guard.extend(&devices);
        }
        let now = |name: &str| devices.iter().find(|device| device.name == name).map(|device| device.ifindex);
        let ingress = self.programs.ingress_id();
        Ok(self.ports.records.iter().any(|record| now(&record.device).unwrap_or(0) != record.ifindex)
            || self.ports.bound.iter().any(|port| {
                // A program that was detached by another process is attached again.
                let device = devices.iter().find(|device| device.ifindex == port.ifindex);
                device.is_some_and(|device| device.xdp.map(|state| state.program) != ingress)
            }))
    }

    /// Applies the published policy to ports, programs, workers and routing. The order ensures that
    /// traffic protected by the old or the new policy stays protected at every moment.
    fn apply(&mut self) -> Result<(), Failure> {
        let snapshot = match self.table.load_policy() {
            Ok(snapshot) => snapshot,
            Err(error @ PolicyReadError::Replaced(_)) => {
                tracing::debug!(%error);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "the published policy cannot be read");
                self.version = self.table.policy_version();
                return Ok(());
            }
        };
        let devices = self.netlink.devices()?;
        let ports = Ports::join(&snapshot, &devices, &self.ports, &mut self.bindings);
        let lists: Vec<&[sa_table::Rule]> =
            snapshot.rule_lists.iter().map(|list| list.rules.as_slice()).collect();
        let place = |record: &sa_table::PortRecord| {
            let bound = |port: &&crate::host::ports::BoundPort| {
                port.id == record.id && port.ifindex == record.ifindex
            };
            ports.bound.iter().find(bound).filter(|_| !record.is_shut).map(|port| port.place)
        };
        let kernel_policy = KernelPolicy::compile(&ports.records, &lists, &devices, place)
            .with_filters(&ports.filtered(&snapshot), &ports.records);
        let limits = crate::xdp::limits(&kernel_policy);
        for limit in limits.iter().filter(|limit| !self.limits.contains(limit)) {
            tracing::warn!("{limit}");
        }
        self.limits = limits;
        self.close(&ports, &kernel_policy)?;
        if let Some(failure) = ports.failure().filter(|_| !self.has_worked()) {
            return Err(failure);
        }
        for missing in ports.missing.iter().filter(|missing| !self.ports.missing.contains(missing)) {
            tracing::warn!("{}; it stays without data plane until then", missing.failure());
        }
        self.steer(&ports)?;
        self.port_devices.set(ports.bound.iter().map(|port| (port.id, port.ifindex)).collect());
        self.wait_for_mirror(&ports);
        if self.engine.is_none() || ports.shape() != self.ports.shape() {
            self.replace_engine(&ports)?;
        }
        if let Some(engine) = &self.engine {
            let (bound, everywhere) = (ports.bound_records(), everywhere(&ports.records, &lists));
            let (version, protected) = (snapshot.version, kernel_policy.fence());
            let workers = engine.shared.mailboxes.len();
            let filters = Filters::compile(&snapshot.filters, &ports.published, workers, &self.filters);
            self.filters = Arc::new(filters);
            let policy = Policy::compile_closed(version, &bound, &lists, &everywhere, protected);
            engine.shared.policy.publish(policy.with_filters(Arc::clone(&self.filters)));
            engine.shared.mailboxes.iter().for_each(|mailbox| mailbox.waker().wake());
        }
        for port in &ports.bound {
            self.forwarding.allow(&port.device)?;
        }
        tracing::info!(version = snapshot.version.0, ports = ports.bound.len(), "policy applied");
        self.version = snapshot.version;
        self.ports = ports;
        self.uncommitted = Some(kernel_policy);
        Ok(())
    }

    /// Loads a policy into the guard and the policy routing, before workers use it.
    fn close(&mut self, ports: &Ports, policy: &KernelPolicy) -> Result<(), Failure> {
        let mut guard = locked(&self.guard);
        for record in ports.records.iter().filter(|record| !guard.contains(record.ifindex)) {
            if record.ifindex != 0 {
                self.forwarding.hold(&record.device)?;
            }
        }
        self.programs.prepare(policy)?;
        guard.extend(&self.netlink.devices()?);
        for port in &ports.bound {
            if let Some(reason) = guard.reason(port.ifindex) {
                let (device, ios_name) = (port.device.clone(), port.ios_name.clone());
                return Err(Failure::Interface { device, ios_name, reason: reason.to_owned() });
            }
        }
        drop(guard);
        // Routes come before the rules that lead to them.
        self.sources.set(&self.netlink, policy.flows())?;
        if self.fence != policy.fence() {
            self.instance.local_traffic().fence(
                &self.netlink,
                Some(self.punt.name()),
                policy.fence(),
                Former::Replaced,
            )?;
            self.fence = policy.fence().to_vec();
        }
        Ok(())
    }

    /// Logs flows that left in clear although a crypto map of another interface protects them,
    /// rate-limited.
    fn report_elsewhere(&mut self) {
        if self.elsewhere_reported.is_some_and(|reported| reported.elapsed() < ELSEWHERE_PERIOD) {
            return;
        }
        let by_worker = self.engine.as_ref().and_then(|engine| engine.shared.take_elsewhere());
        if let Some((flow, port)) = by_worker {
            self.elsewhere_reported = Some(Instant::now());
            let port = self.ports.bound.iter().find(|bound| bound.id == port);
            let device = port.map_or("", |port| port.device.as_str());
            tracing::warn!(
                device, source = %flow.source, destination = %flow.destination,
                "{LEFT_IN_CLEAR}"
            );
        }
        for (flow, packets) in self.programs.take_elsewhere().into_iter().take(ELSEWHERE_LINES) {
            self.elsewhere_reported = Some(Instant::now());
            let (source, destination) = crate::xdp::addresses(&flow);
            tracing::warn!(
                ifindex = flow.ifindex, %source, %destination, packets,
                "{LEFT_IN_CLEAR}"
            );
        }
    }

    /// Workers with a snapshot without the new ports would find no route. Bounded: a device may
    /// disappear meanwhile.
    fn wait_for_mirror(&self, ports: &Ports) {
        let deadline = Instant::now() + MIRROR_PATIENCE;
        let shows = |port: &crate::host::ports::BoundPort| {
            self.kernel.load().port(port.id).is_some_and(|link| link.ifindex == port.ifindex)
        };
        while !ports.bound.iter().all(shows) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn steer(&mut self, ports: &Ports) -> Result<(), Failure> {
        self.attached.clear();
        for port in &ports.bound {
            let attached = self.programs.steer(port.ifindex, &port.device, &self.netlink)?;
            if let Some(reason) = &attached.skb_reason {
                tracing::warn!(device = port.device, reason, "no native XDP, using the generic hook");
            }
            self.attached.push((port.device.clone(), attached));
        }
        Ok(())
    }

    fn replace_engine(&mut self, ports: &Ports) -> Result<(), Failure> {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
        for port in self.ports.bound.iter().chain(&ports.bound) {
            self.programs.clear_sockets(port.place)?;
        }
        let engine = Engine::start(&Parts {
            settings: self.settings,
            descriptors: &self.descriptors,
            kernel: &self.kernel,
            ports,
            cores: &self.cores,
            backend: self.backend,
            punt: &self.punt,
            punt_counters: &self.punt_counters,
        })?;
        match &engine.copy_reason {
            Some(reason) => {
                tracing::info!(mode = %engine.mode, %reason, workers = engine.cores.len(), "workers started")
            }
            None => tracing::info!(mode = %engine.mode, workers = engine.cores.len(), "workers started"),
        }
        engine.open_doors(&mut self.programs, ports)?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Once every worker uses the new policy, reports that it is in force and removes the rules of
    /// the old one.
    fn commit(&mut self) -> Result<(), Failure> {
        let Some(engine) = self.engine.as_ref().filter(|_| self.uncommitted.is_some()) else { return Ok(()) };
        let judges = |worker| {
            let status = self.runtime.worker(WorkerId(worker));
            status.and_then(|status| status.policy_version).is_some_and(|version| version >= self.version)
        };
        if !(0..).take(engine.cores.len()).all(judges) {
            return Ok(());
        }
        let devices = fingerprint(covered(&self.ports.records, &locked(&self.guard)));
        engine.shared.runtime.set_in_force(InForce { version: self.version, devices });
        if let Some(policy) = self.uncommitted.take() {
            self.programs.commit(&policy)?;
        }
        Ok(())
    }

    fn end(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }
}

/// Longest sleep of the main thread: a new policy is noticed within this time.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// The same while workers take up a policy, because a peer may be waiting for it.
const SHORT_TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000 };
/// The mirror needs milliseconds for a small table, and a second for a full one.
const MIRROR_PATIENCE: Duration = Duration::from_secs(3);
/// A worker updates its heartbeat every 100 ms; without an update for this time it is considered
/// hung.
const WORKER_PATIENCE_MS: u64 = 3000;
/// Exit code of device failures (ARCHITECTURE.md).
const OF_A_DEVICE: u8 = 6;
/// Pause after a device disappeared while the policy was applied.
const AGAIN: Duration = Duration::from_millis(100);
/// How often devices are compared with the ports, and their programs with ours.
const DEVICE_PERIOD: Duration = Duration::from_millis(500);
/// Interval and number of logged flows that left in clear by another interface.
const ELSEWHERE_PERIOD: Duration = Duration::from_secs(60);
const ELSEWHERE_LINES: usize = 8;
const LEFT_IN_CLEAR: &str = "left in clear although the crypto map of another interface protects it; \
    \"crypto map NAME fail-close\" closes it there";
