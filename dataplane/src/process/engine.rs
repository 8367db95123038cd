//! Packet memory, sockets and worker threads of one set of ports. When the set changes, the whole
//! engine is replaced: all sockets share one UMEM, and the copy or zero-copy mode is decided for
//! all of them together.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use af_xdp::{Backing, BusyPoll, CopyReason, Mode, PortQueue, Socket, SocketOptions, Umem, UmemConfig};
use core_affinity::CoreId;
use esp::AeadBackend;
use sa_table::{Descriptors, EventSender, WorkerId};

use crate::failure::Failure;
use crate::host::kernel::{KernelView, PortId};
use crate::host::ports::Ports;
use crate::host::punt::{PuntCounters, PuntPort};
use crate::path::shared::Shared;
use crate::process::settings::Settings;
use crate::process::worker::{Worker, WorkerOptions, WorkerPort};
use crate::xdp::Programs;

/// The inputs of an engine.
pub struct Parts<'a> {
    /// The arguments.
    pub settings: &'a Settings,
    /// The shared segments.
    pub descriptors: &'a Descriptors,
    /// Routes and neighbours.
    pub kernel: &'a Arc<KernelView>,
    /// The ports, whose programs are attached.
    pub ports: &'a Ports,
    /// Cores for workers.
    pub cores: &'a [usize],
    /// The AEAD implementation.
    pub backend: AeadBackend,
    /// The punt port.
    pub punt: &'a PuntPort,
    /// Its counters.
    pub punt_counters: &'a Arc<PuntCounters>,
}

/// Running workers.
pub struct Engine {
    /// What the workers share; policies are published here.
    pub shared: Arc<Shared>,
    /// Zero-copy or copy.
    pub mode: Mode,
    /// The reason if the mode is copy.
    pub copy_reason: Option<CopyReason>,
    /// The core of each worker.
    pub cores: Vec<usize>,
    /// The sockets' descriptors, for their statistics.
    pub sockets: Vec<SocketHandle>,
    /// Frames of packet memory.
    pub frames: u32,
    stop: Arc<AtomicBool>,
    threads: Vec<(String, JoinHandle<io::Result<()>>)>,
}

/// Data of a worker's socket for the housekeeping thread.
#[derive(Debug)]
pub struct SocketHandle {
    /// Device name.
    pub device: String,
    /// Queue number.
    pub queue: u32,
    /// Which worker runs it.
    pub worker: u16,
    /// Another descriptor of the same socket.
    pub descriptor: OwnedFd,
}

impl Engine {
    /// Binds one socket to each queue of each port and starts the workers. Packets arrive after
    /// [`Engine::open_doors`] has put the sockets into the kernel's map.
    ///
    /// # Errors
    /// No memory, a queue that is taken, a segment that does not fit.
    pub fn start(parts: &Parts<'_>) -> Result<Self, Failure> {
        let workers = worker_count(parts.ports, parts.cores.len());
        let cores: Vec<usize> = parts.cores.iter().copied().take(workers).collect();
        let requests: Vec<PortQueue> = queues(parts.ports).map(|(_, request)| request).collect();
        let umem = umem(parts.settings, requests.len(), workers)?;
        let mut opened = af_xdp::open(&umem, &requests, &options(parts.settings))?;
        // The first packet may arrive before the worker's first round: the kernel needs frames for
        // it.
        let mut pool = umem.pool(POOL_BATCH, POOL);
        opened.sockets.iter_mut().for_each(|socket| {
            socket.refill(&mut pool);
        });
        drop(pool);
        let sockets = handles(&requests, &opened.sockets, workers)?;
        let table = parts.descriptors.table_reader()?;
        // A new writer is a new incarnation, which frees the claims of the workers of an earlier
        // engine.
        let runtime = parts.descriptors.runtime_writer()?;
        parts.kernel.report_to(runtime.clone());
        let shared = Shared::new(table, runtime, Arc::clone(parts.kernel), parts.backend, workers)
            .map_err(|error| Failure::system("make an eventfd")(error.into()))?;
        let mut engine = Self {
            shared: Arc::new(shared),
            mode: opened.mode,
            copy_reason: opened.copy_reason,
            cores,
            sockets,
            frames: umem.frames(),
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        engine
            .start_threads(parts, &umem, opened.sockets)
            .inspect_err(|_| engine.stop.store(true, Ordering::Release))?;
        Ok(engine)
    }

    fn start_threads(&mut self, parts: &Parts<'_>, umem: &Umem, sockets: Vec<Socket>) -> Result<(), Failure> {
        let mut ports: Vec<Vec<WorkerPort>> = self.cores.iter().map(|_| Vec::new()).collect();
        for ((port, request), socket) in queues(parts.ports).zip(sockets) {
            let worker = request.queue as usize % self.cores.len();
            if let Some(ports) = ports.get_mut(worker) {
                ports.push(WorkerPort { port, socket });
            }
        }
        let cores = self.cores.clone();
        for ((index, core), ports) in (0..).zip(cores).zip(ports) {
            let events = parts.descriptors.event_sender(WorkerId(index))?;
            self.start_worker(index, core, ports, umem, events)?;
        }
        let punt = parts.punt.try_clone().map_err(Failure::Punt)?;
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let (pool, counters) = (umem.pool(POOL_BATCH, POOL), Arc::clone(parts.punt_counters));
        self.spawn("punt thread".to_owned(), move || punt.run(&shared, pool, &counters, &stop))
    }

    fn start_worker(
        &mut self,
        index: u16,
        core: usize,
        ports: Vec<WorkerPort>,
        umem: &Umem,
        events: EventSender,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let umem = umem.clone();
        let options = WorkerOptions { pool_limit: POOL, ..WorkerOptions::default() };
        let stop = Arc::clone(&self.stop);
        self.spawn(format!("worker {index}"), move || {
            if !core_affinity::set_for_current(CoreId { id: core }) {
                tracing::warn!(worker = index, core, "the worker cannot be pinned to its core");
            }
            // Allocated on the worker's own core.
            Worker::new(shared, WorkerId(index), events, &umem, ports, &options).run(&stop);
            Ok(())
        })
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(body)
            .map_err(Failure::system(format!("start the {name}")))?;
        self.threads.push((name, thread));
        Ok(())
    }

    /// Puts the sockets into the kernel's map: from now on packets reach the workers.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn open_doors(&self, programs: &mut Programs, ports: &Ports) -> Result<(), Failure> {
        for handle in &self.sockets {
            if let Some(port) = ports.bound.iter().find(|port| port.device == handle.device) {
                programs.set_socket(port.place, handle.queue, handle.descriptor.as_fd())?;
            }
        }
        Ok(())
    }

    /// A thread that ended although it was not stopped.
    pub fn failed(&mut self) -> Option<Failure> {
        let at = self.threads.iter().position(|(_, thread)| thread.is_finished())?;
        let (name, thread) = self.threads.swap_remove(at);
        Some(Failure::Thread(name, ending(thread)))
    }

    /// Stops all threads and closes the sockets. The kernel drops what they would have received.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Release);
        self.shared.punt.waker().wake();
        for mailbox in &self.shared.mailboxes {
            mailbox.waker().wake();
        }
        for (name, thread) in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("{name} panicked");
            }
        }
        for index in (0..).take(self.cores.len()) {
            self.shared.runtime.remove_worker(WorkerId(index));
        }
    }
}

fn ending(thread: JoinHandle<io::Result<()>>) -> String {
    match thread.join() {
        Ok(Ok(())) => "it returned".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    }
}

/// Every worker has a queue of every port, so that it can send by every port.
fn worker_count(ports: &Ports, cores: usize) -> usize {
    let fewest = ports.bound.iter().map(|port| port.queues as usize).min().unwrap_or(1);
    cores.min(fewest).max(1)
}

fn queues(ports: &Ports) -> impl Iterator<Item = (PortId, PortQueue)> {
    ports.bound.iter().flat_map(|port| {
        (0..port.queues).map(|queue| (port.id, PortQueue { interface: port.device.clone(), queue }))
    })
}

fn handles(requests: &[PortQueue], sockets: &[Socket], workers: usize) -> Result<Vec<SocketHandle>, Failure> {
    requests
        .iter()
        .zip(sockets)
        .filter_map(|(request, socket)| {
            let descriptor = socket.fd()?.try_clone_to_owned();
            Some(descriptor.map_err(Failure::system("duplicate a socket's descriptor")).map(|descriptor| {
                SocketHandle {
                    device: request.interface.clone(),
                    queue: request.queue,
                    worker: u16::try_from(request.queue as usize % workers).unwrap_or(0),
                    descriptor,
                }
            }))
        })
        .collect()
}

/// Enough frames to fill every ring of every socket and every pool at once, so that none can starve
/// another.
fn umem(settings: &Settings, sockets: usize, workers: usize) -> Result<Umem, Failure> {
    let reckoned = sockets * settings.ring as usize * RINGS + (workers + 1) * POOL;
    let frames = match settings.frames {
        0 => u32::try_from(reckoned).unwrap_or(u32::MAX).max(SMALLEST_UMEM),
        frames => frames,
    };
    let backing = if settings.huge_pages { Backing::HugePages } else { Backing::Memfd };
    Ok(Umem::new(UmemConfig { frames, backing, ..UmemConfig::default() })?)
}

fn options(settings: &Settings) -> SocketOptions {
    let busy_poll =
        (settings.busy_poll > 0).then_some(BusyPoll { microseconds: settings.busy_poll, budget: 64 });
    SocketOptions {
        ring_size: settings.ring,
        fill_size: settings.ring,
        mode: settings.copy_mode.into(),
        busy_poll,
        ..SocketOptions::default()
    }
}

/// RX, TX and fill ring.
const RINGS: usize = 3;
const POOL_BATCH: usize = 64;
const POOL: usize = 2048;
const SMALLEST_UMEM: u32 = 8192;
