//! The life of the process: attach to the segments, guard the ports, run workers, follow the configuration and the
//! machine, and stop so that the programs in the kernel go on dropping.

mod report;
mod sources;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use af_xdp::device::receive_queues;
use esp::AeadBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sa_table::{
    Descriptors, Locking, PolicyReadError, PolicyVersion, RuntimeReader, TableReader, take_listen_fds,
};

use crate::engine::{Engine, Parts};
use crate::failure::Failure;
use crate::hygiene::{self, Hygiene};
use crate::instance::Instance;
use crate::kernel::{Forwarding, KernelView, Mirror, Netlink, PortNames};
use crate::policy::Policy;
use crate::ports::Ports;
use crate::punt::{PuntCounters, PuntPort};
use crate::settings::Settings;
use crate::status::StatusSocket;
use crate::xdp::{Attached, KernelPolicy, Programs};

use sources::Sources;

/// Runs the data plane until SIGTERM or SIGINT. Call it first thing in `main`: it takes over the descriptors that the
/// parent handed down.
///
/// # Errors
/// Why the process ends otherwise; [`Failure::exit_code`] is its exit code.
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
    plane.close();
    Ok(())
}

struct Dataplane<'a> {
    settings: &'a Settings,
    descriptors: Descriptors,
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
    names: Arc<PortNames>,
    mirror: std::thread::JoinHandle<Result<(), crate::kernel::NetlinkError>>,
    cores: Vec<usize>,
    backend: AeadBackend,
    status: StatusSocket,
    ports: Ports,
    attached: Vec<(String, Attached)>,
    /// What does not fit into the kernel's maps and is closed by coarser means.
    limits: Vec<String>,
    engine: Option<Engine>,
    /// The newest policy that was applied.
    version: PolicyVersion,
    /// What is left to forget once the workers follow the policy.
    uncommitted: Option<(KernelPolicy, Instant)>,
    devices_seen: Instant,
}

impl<'a> Dataplane<'a> {
    fn open(settings: &'a Settings, descriptors: Descriptors, hygiene: Hygiene) -> Result<Self, Failure> {
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
        forwarding.close_new_devices()?;
        let (punt, punt_ifindex) = open_punt(&netlink, &instance, &forwarding)?;
        let sources = Sources::new(instance.local_traffic(), punt_ifindex);
        let status = StatusSocket::bind(&instance.status_socket())
            .map_err(Failure::system(format!("listen at {}", instance.status_socket().display())))?;
        let (kernel, names) = (Arc::new(KernelView::default()), Arc::new(PortNames::default()));
        let mirror = start_mirror(&kernel, &names)?;
        Ok(Self {
            settings,
            descriptors,
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
            names,
            mirror,
            cores,
            backend,
            status,
            ports: Ports::default(),
            attached: Vec::new(),
            limits: Vec::new(),
            engine: None,
            version: PolicyVersion(0),
            uncommitted: None,
            devices_seen: Instant::now(),
        })
    }

    /// One turn of housekeeping.
    fn look_around(&mut self) -> Result<(), Failure> {
        let version = self.table.policy_version();
        let devices_due = self.devices_seen.elapsed() >= DEVICE_PERIOD && self.version != PolicyVersion(0);
        if version != self.version || (devices_due && self.devices_changed()?) {
            self.apply()?;
        }
        if devices_due {
            self.devices_seen = Instant::now();
            let generation = self.kernel.load().generation();
            self.sources.refresh(&self.netlink, generation)?;
        }
        self.commit()?;
        if self.mirror.is_finished() {
            return Err(Failure::Thread("kernel mirror".to_owned(), "its netlink socket failed".to_owned()));
        }
        if let Some(engine) = &mut self.engine {
            // Workers end by themselves when they are superseded, so this comes first.
            if !engine.shared.runtime.is_current() {
                return Err(Failure::Superseded(engine.shared.runtime.incarnation()));
            }
            if let Some(failure) = engine.failed() {
                return Err(failure);
            }
        }
        self.status.serve(|| self.report());
        Ok(())
    }

    /// Sleeps until somebody asks for the status, or a turn is due.
    fn pause(&self) {
        let mut fds = [PollFd::from_borrowed_fd(self.status.fd(), PollFlags::IN)];
        // A signal ends the sleep, which is what it is for.
        let _ = poll(&mut fds, Some(&TURN));
    }

    fn devices_changed(&self) -> Result<bool, Failure> {
        let devices = self.netlink.devices()?;
        let now = |name: &str| devices.iter().find(|device| device.name == name).map(|device| device.ifindex);
        Ok(self.ports.can_open(&devices, receive_queues)
            || self.ports.records.iter().any(|record| now(&record.device).unwrap_or(0) != record.ifindex)
            || self.ports.bound.iter().any(|port| {
                // A program that somebody took off the device comes back.
                let device = devices.iter().find(|device| device.ifindex == port.ifindex);
                device.is_some_and(|device| device.xdp.is_none())
            }))
    }

    /// Makes ports, programs, workers and routing those of the published policy, in the order that protects at every
    /// moment what the old or the new policy protects.
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
        let ports = Ports::join(&snapshot, &devices, &self.ports, receive_queues);
        let first = self.version == PolicyVersion(0);
        match ports.failure() {
            Some(failure) if first => return Err(failure),
            Some(failure) => tracing::warn!("{failure}; it stays without data plane until then"),
            None => {}
        }
        for port in ports.closed.iter().filter(|port| !self.ports.closed.contains(port)) {
            tracing::error!(device = port.device, name = port.ios_name, "port closed: {}", port.reason);
        }
        let lists: Vec<&[sa_table::Rule]> =
            snapshot.rule_lists.iter().map(|list| list.rules.as_slice()).collect();
        let place = |record: &sa_table::PortRecord| {
            ports.bound.iter().find(|port| port.id == record.id).map(|port| port.place)
        };
        let kernel_policy = KernelPolicy::compile(&ports.records, &lists, place);
        let known = self.programs.attached();
        for port in ports.bound.iter().filter(|port| !known.contains(&port.ifindex)) {
            self.forwarding.hold(&port.device)?;
        }
        for port in &ports.closed {
            self.forwarding.hold(&port.device)?;
        }
        let limits = crate::xdp::limits(&kernel_policy);
        for limit in limits.iter().filter(|limit| !self.limits.contains(limit)) {
            tracing::warn!("{limit}");
        }
        self.limits = limits;
        self.programs.prepare(&kernel_policy)?;
        self.attach(&ports)?;
        self.local_traffic(&kernel_policy)?;
        self.names.set(ports.bound.iter().map(|port| (port.id, port.device.clone())).collect());
        self.wait_for_mirror(&ports);
        if self.engine.is_none() || ports.shape() != self.ports.shape() {
            self.replace_engine(&ports)?;
        }
        if let Some(engine) = &self.engine {
            engine.shared.policy.publish(Policy::compile(snapshot.version, &ports.records, &lists));
            engine.shared.mailboxes.iter().for_each(|mailbox| mailbox.waker().wake());
        }
        for port in &ports.bound {
            self.forwarding.allow(&port.device)?;
        }
        tracing::info!(version = snapshot.version.0, ports = ports.bound.len(), "policy applied");
        self.version = snapshot.version;
        self.ports = ports;
        self.uncommitted = Some((kernel_policy, Instant::now()));
        Ok(())
    }

    /// Workers that look at a picture without the new ports would find no route. Bounded: a device may go meanwhile.
    fn wait_for_mirror(&self, ports: &Ports) {
        let deadline = Instant::now() + MIRROR_PATIENCE;
        let shows = |port: &crate::ports::BoundPort| {
            self.kernel.load().port(port.id).is_some_and(|link| link.ifindex == port.ifindex)
        };
        while !ports.bound.iter().all(shows) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn attach(&mut self, ports: &Ports) -> Result<(), Failure> {
        self.attached.clear();
        for port in &ports.bound {
            let attached =
                self.programs.attach(port.ifindex, &port.device, port.crypto_map, &self.netlink)?;
            if let Some(reason) = &attached.skb_reason {
                tracing::warn!(device = port.device, reason, "no native XDP, using the generic hook");
            }
            self.attached.push((port.device.clone(), attached));
        }
        for port in &ports.closed {
            self.programs.attach(port.ifindex, &port.device, port.crypto_map, &self.netlink)?;
        }
        Ok(())
    }

    /// New rules before old ones go, so the union is routed to the punt port meanwhile; and before the rules the routes that they lead to.
    fn local_traffic(&mut self, policy: &KernelPolicy) -> Result<(), Failure> {
        self.sources.set(&self.netlink, policy.flows())?;
        Ok(self.instance.local_traffic().set_prefixes(&self.netlink, policy.protected_destinations())?)
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

    /// Forgets what only the old policy protected, when the workers have had time to take up the new one.
    fn commit(&mut self) -> Result<(), Failure> {
        let Some((policy, since)) = self.uncommitted.take() else { return Ok(()) };
        if since.elapsed() < ADOPTION {
            self.uncommitted = Some((policy, since));
            return Ok(());
        }
        self.programs.commit(&policy)?;
        for ifindex in self.programs.attached() {
            if !self.ports.has_programs(ifindex) {
                self.programs.detach(ifindex)?;
            }
        }
        Ok(())
    }

    fn close(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }
}

fn worker_cores(settings: &Settings) -> Result<Vec<usize>, Failure> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    settings.worker_cores(&available).map_err(|core| {
        Failure::Usage(format!(
            "--cores: core {core} is not available to this process, which has {available:?}"
        ))
    })
}

/// The punt port, up and at the end of the instance's table, with its ifindex.
fn open_punt(
    netlink: &Netlink,
    instance: &Instance,
    forwarding: &Forwarding,
) -> Result<(PuntPort, u32), Failure> {
    let punt = PuntPort::open().map_err(Failure::Punt)?;
    let device = netlink
        .device(punt.name())?
        .ok_or_else(|| Failure::Punt(std::io::Error::from_raw_os_error(libc::ENODEV)))?;
    // No link-local address, hence no router solicitations into the workers. A kernel without IPv6 sends none anyway.
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/addr_gen_mode", punt.name()), "1");
    netlink.bring_up(device.ifindex)?;
    // What the kernel has to forward for us, toward devices that are no ports, enters it here.
    forwarding.allow(punt.name())?;
    instance.local_traffic().set_default(netlink, device.ifindex)?;
    Ok((punt, device.ifindex))
}

/// The mirror has a thread of its own beside the main one, in the same network namespace.
fn start_mirror(
    kernel: &Arc<KernelView>,
    names: &Arc<PortNames>,
) -> Result<std::thread::JoinHandle<Result<(), crate::kernel::NetlinkError>>, Failure> {
    let (kernel, names) = (Arc::clone(kernel), Arc::clone(names));
    let follow = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(crate::kernel::NetlinkError::Open)?;
        runtime.block_on(async { Mirror::open(kernel, names)?.run().await })
    };
    std::thread::Builder::new()
        .name("kernel mirror".to_owned())
        .spawn(move || follow().inspect_err(|error| tracing::error!(%error, "the kernel mirror failed")))
        .map_err(Failure::system("start the kernel mirror"))
}

/// Longest sleep of the main thread.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// The mirror needs milliseconds for a small table, and a second for a full one.
const MIRROR_PATIENCE: Duration = Duration::from_secs(3);
/// How often devices are compared with the ports.
const DEVICE_PERIOD: Duration = Duration::from_millis(500);
/// Workers look at the policy with each burst, and asleep ten times a second.
const ADOPTION: Duration = Duration::from_secs(1);
