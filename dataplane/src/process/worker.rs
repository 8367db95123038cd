//! A worker: one thread, one queue of every port, run to completion. Polls while there is work and
//! for a moment after, then sleeps.

use crate::count::counter::Counter;
use crate::host::kernel::PortId;
use crate::path::mailbox::{Mailbox, Wake};
use crate::path::pipeline::{Pipeline, PipelineOptions};
use crate::path::shared::Shared;
use af_xdp::{Frame, Socket, Umem};
use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sa_table::{EventSender, WorkerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Scheduling and sizes of a worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// Sizes of its tables.
    pub pipeline: PipelineOptions,
    /// Empty rounds before it sleeps; `None`: it never sleeps.
    pub idle_rounds: Option<u32>,
    /// Largest number of free frames that it keeps.
    pub pool_limit: usize,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        WorkerOptions { pipeline: PipelineOptions::default(), idle_rounds: Some(64), pool_limit: 2048 }
    }
}

/// A socket and the port that it belongs to.
#[derive(Debug)]
pub struct WorkerPort {
    /// Number of the port.
    pub port: PortId,
    /// Its socket for the port's queue of this worker.
    pub socket: Socket,
}

/// One worker.
pub struct Worker {
    shared: Arc<Shared>,
    id: WorkerId,
    pipeline: Pipeline,
    ports: Vec<WorkerPort>,
    burst: Vec<Frame>,
    idle_rounds: Option<u32>,
    ticked_ms: u64,
}

/// Largest number of packets taken from one queue at a time.
const BURST: u32 = 64;
/// Interval at which counters and the heartbeat are published, in milliseconds.
const TICK_MS: u64 = 100;
/// Longest sleep while packets wait for an SA or a neighbour, in milliseconds; otherwise it is a
/// tick.
const WAITING_SLEEP_MS: u64 = 2;
/// Largest number of sockets that a sleeping worker polls; others are checked when it wakes up at
/// the end of its sleep.
const WATCHED: usize = 64;

impl Worker {
    /// A worker over these sockets. It handles packets once [`run`](Self::run) or
    /// [`poll_once`](Self::poll_once) is called.
    pub fn new(
        shared: Arc<Shared>,
        id: WorkerId,
        events: EventSender,
        umem: &Umem,
        ports: Vec<WorkerPort>,
        options: &WorkerOptions,
    ) -> Worker {
        let numbers: Vec<PortId> = ports.iter().map(|port| port.port).collect();
        let pool = umem.pool(BURST as usize, options.pool_limit);
        let pipeline = Pipeline::new(Arc::clone(&shared), id, events, pool, &numbers, &options.pipeline);
        let burst = Vec::with_capacity(BURST as usize);
        Worker { shared, id, pipeline, ports, burst, idle_rounds: options.idle_rounds, ticked_ms: 0 }
    }

    /// Works until `stop` is set or another data plane takes over. Returns true in the latter case.
    pub fn run(&mut self, stop: &AtomicBool) -> bool {
        let mut idle = 0;
        let mut superseded = false;
        while !stop.load(Ordering::Relaxed) && !superseded {
            let now_ms = monotonic_ms();
            let work = self.poll_once(now_ms);
            superseded = !self.tick(now_ms);
            idle = if work == 0 { idle + 1 } else { 0 };
            if self.idle_rounds.is_some_and(|rounds| idle > rounds) {
                self.sleep(now_ms);
                idle = 0;
            } else if work == 0 {
                std::hint::spin_loop();
            }
        }
        self.shut_down();
        superseded
    }

    /// One round over all queues. Returns the number of packets received and sent.
    pub fn poll_once(&mut self, now_ms: u64) -> usize {
        self.pipeline.begin(now_ms);
        let mut work = 0;
        for WorkerPort { port, socket } in &mut self.ports {
            work += socket.complete(self.pipeline.pool()) as usize;
            socket.refill(self.pipeline.pool());
            work += socket.receive(&mut self.burst, BURST) as usize;
            self.pipeline.receive(*port, &mut self.burst);
        }
        work += self.take_mail();
        self.pipeline.finish();
        work + self.transmit()
    }

    /// Publishes counters if it is time. `false`: stop.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.ticked_ms) < TICK_MS {
            return true;
        }
        self.ticked_ms = now_ms;
        self.pipeline.publish()
    }

    /// The packet path, for tests and benchmarks.
    pub fn pipeline(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// The sockets.
    pub fn ports(&self) -> &[WorkerPort] {
        &self.ports
    }

    /// Returns all frames and releases all SAs. The sockets close when the worker is dropped.
    pub fn shut_down(&mut self) {
        while let Some(frame) = self.mailbox().and_then(Mailbox::next_from_host) {
            self.pipeline.pool().put(frame);
        }
        while let Some(handoff) = self.mailbox().and_then(Mailbox::next_handoff) {
            self.pipeline.pool().put(handoff.into_frame());
        }
        self.pipeline.shut_down();
    }

    fn mailbox(&self) -> Option<&Mailbox> {
        self.shared.mailboxes.get(usize::from(self.id.0))
    }

    fn take_mail(&mut self) -> usize {
        let Some(mailbox) = self.shared.mailboxes.get(usize::from(self.id.0)) else { return 0 };
        let mut taken = 0;
        for _ in 0..BURST {
            let Some(frame) = mailbox.next_from_host() else { break };
            self.pipeline.receive_from_host(frame);
            taken += 1;
        }
        for _ in 0..BURST {
            let Some(handoff) = mailbox.next_handoff() else { break };
            self.pipeline.receive_handoff(handoff);
            taken += 1;
        }
        taken
    }

    fn transmit(&mut self) -> usize {
        let mut sent = 0;
        for (out, WorkerPort { socket, .. }) in self.pipeline.outputs().iter_mut().zip(&mut self.ports) {
            sent += socket.send(&mut out.frames) as usize;
            socket.flush();
        }
        self.pipeline.count(Counter::Transmitted, sent as u64);
        sent
    }

    /// Sleeps until a packet arrives, the worker is woken, or a tick is over.
    fn sleep(&mut self, now_ms: u64) {
        if let Some(waker) = self.mailbox().map(Mailbox::waker) {
            waker.about_to_sleep();
        }
        let unsent = self.ports.iter().any(|port| port.socket.frames_in_flight() > 0);
        let urgent = unsent || self.pipeline.has_waiting();
        let until_tick = (self.ticked_ms + TICK_MS).saturating_sub(now_ms).clamp(1, TICK_MS);
        let sleep_ms = if urgent { until_tick.min(WAITING_SLEEP_MS) } else { until_tick };
        if self.mailbox().is_none_or(Mailbox::is_empty) {
            self.pipeline.rest();
            self.pipeline.count(Counter::Sleeps, 1);
            wait(&self.ports, self.mailbox().map(Mailbox::waker), sleep_ms);
        }
        if let Some(waker) = self.mailbox().map(Mailbox::waker) {
            waker.awake();
        }
    }
}

fn wait(ports: &[WorkerPort], waker: Option<&Wake>, sleep_ms: u64) {
    let mut watched = ArrayVec::<PollFd<'_>, { WATCHED + 1 }>::new();
    if let Some(waker) = waker {
        watched.push(PollFd::from_borrowed_fd(waker.fd(), PollFlags::IN));
    }
    for fd in ports.iter().filter_map(|port| port.socket.fd()).take(WATCHED) {
        watched.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    }
    let timeout = Timespec { tv_sec: 0, tv_nsec: (sleep_ms * 1_000_000) as _ };
    // An interrupted or failed poll is a short sleep; the caller's loop continues either way.
    let _ = poll(&mut watched, Some(&timeout));
    let broken = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    if watched.iter().any(broken) {
        // The interface of a socket is gone: without this the worker would spin until it is back.
        std::thread::sleep(std::time::Duration::from_millis(sleep_ms.min(10)));
    }
}

/// CLOCK_MONOTONIC in milliseconds, the time of the shared tables.
pub fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
