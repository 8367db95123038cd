//! One end: a control plane, its segments, and a data plane reduced to sending single packets.

use std::net::SocketAddr;
use std::time::Duration;

use controlplane::checkpoint::Memory;
use controlplane::clock::Scale;
use controlplane::gateway::{Gateway as ControlPlane, Output};
use controlplane::tables::Tables;
use ike::{Endpoint, EndpointConfig, RandomSpis, SystemRandom};
use sa_table::{
    Checkpoint, Event, InboundOwner, Locking, OutboundOwner, PolicyId, RuntimeWriter, Segments, TableReader,
    WorkerId,
};

use super::hub::{self, HUB};
use super::{Heap, Holding};
use crate::network::SimulationError;

const WORKER: WorkerId = WorkerId(0);
const PACKET_BYTES: u64 = 100;

/// One end, see the module documentation.
pub(super) struct End {
    control: ControlPlane,
    index: usize,
    checkpoint: Checkpoint,
    reader: TableReader,
    runtime: RuntimeWriter,
    /// Indexed by the number of the tunnel.
    policies: Vec<PolicyId>,
    /// Pending requests for SAs.
    asked: Vec<PolicyId>,
    heap: Heap,
    held: i64,
    _segments: Segments,
}

impl End {
    pub(super) fn new(index: usize, count: u32, heap: Heap) -> Result<Self, SimulationError> {
        let segments = Segments::create(hub::capacities(count), Locking::Never)?;
        let (reader, runtime) = (segments.table_reader()?, segments.runtime_writer()?);
        let before = heap();
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::new(RandomSpis::default()));
        let memory = Memory::default();
        let tables = Tables::new(segments.table_writer()?, segments.runtime_reader()?, &memory);
        let control = ControlPlane::new(endpoint, tables, Scale::default(), memory);
        let mut end = End {
            control,
            index,
            checkpoint: segments.checkpoint()?,
            reader,
            runtime,
            policies: Vec::new(),
            asked: Vec::new(),
            heap,
            held: heap() - before,
            _segments: segments,
        };
        end.announce();
        Ok(end)
    }

    pub(super) fn configure(&mut self, now: Duration, text: &str, count: u32) {
        let devices = hub::devices(self.index, count);
        // `salvage` does not enforce the limits on whole configurations: one interface for each
        // tunnel exceeds those of a real gateway.
        let read = config::salvage::salvage(text);
        assert!(read.refused.is_empty(), "{:?}", read.refused);
        let configuration = read.configuration;
        self.work(|control| control.configure(now, configuration, devices));
        let mut policies: Vec<(u32, PolicyId)> = self
            .control
            .policies()
            .filter_map(|(id, key)| {
                let spoke = if self.index == HUB { &key.remote } else { &key.local };
                Some((hub::number_of(spoke.first()?.start)?, id))
            })
            .collect();
        policies.sort_unstable();
        assert_eq!(policies.len(), count as usize, "a policy for each tunnel");
        self.policies = policies.into_iter().map(|(_, id)| id).collect();
    }

    /// Runs the control plane and charges it with the heap.
    fn work<R>(&mut self, work: impl FnOnce(&mut ControlPlane) -> R) -> R {
        let before = (self.heap)();
        let result = work(&mut self.control);
        self.held += (self.heap)() - before;
        result
    }

    pub(super) fn datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.work(|control| control.handle_datagram(now, from, to, bytes));
    }

    pub(super) fn timeout(&mut self, now: Duration) {
        self.work(|control| control.handle_timeout(now));
    }

    pub(super) fn deadline(&mut self) -> Duration {
        self.control.deadline()
    }

    pub(super) fn output(&mut self) -> Option<Output> {
        self.work(ControlPlane::poll_output)
    }

    /// Drops output of the control plane.
    pub(super) fn discard(&mut self, output: Output) {
        if let Output::Log(controlplane::report::Message::Trouble(text)) = &output {
            panic!("{text}");
        }
        self.work(|_| drop(output));
    }

    pub(super) fn store_checkpoint(&mut self, now: Duration) {
        if let Some(memory) = self.control.checkpoint(now)
            && let Err(error) = self.checkpoint.store(&memory)
        {
            panic!("{} octets of checkpoint: {error}", memory.len());
        }
    }

    /// The work of a worker between bursts: it releases removed slots and withdraws answered
    /// requests.
    pub(super) fn announce(&mut self) {
        self.runtime.announce_policy(WORKER, self.reader.policy_version());
        self.runtime.announce(WORKER, self.reader.generation());
        let (reader, runtime) = (&self.reader, &self.runtime);
        self.asked.retain(|policy| {
            let waits = reader.policy_word(*policy).is_none();
            if !waits {
                runtime.clear_acquire(*policy);
            }
            waits
        });
    }

    /// A packet of this tunnel requests an SA.
    pub(super) fn ask(&mut self, now: Duration, number: u32) {
        let (policy, flow) = (self.policies[number as usize], hub::flow(number));
        self.runtime.raise_acquire(policy, &flow, now.as_millis() as u64);
        self.asked.push(policy);
        self.work(|control| control.handle_event(now, &Event::Acquire { policy, flow }));
    }

    /// Sends a packet through the SA of this tunnel; returns its SPI.
    pub(super) fn send(&mut self, now: Duration, number: u32) -> u32 {
        let owner = || -> Option<(OutboundOwner, u32)> {
            let slot = self.reader.policy_word(self.policies[number as usize])?;
            let record = self.reader.outbound(slot)?;
            Some((self.runtime.claim_outbound(WORKER, slot, record.esn).ok()?, record.spi))
        };
        let Some((mut owner, spi)) = owner() else { panic!("tunnel {number} is not up") };
        assert_eq!(owner.take_sequence(1).ok(), Some(1), "a new SA begins at 1");
        owner.add_sent(1, PACKET_BYTES);
        owner.set_last_sent(now.as_millis() as u64);
        spi
    }

    /// A packet with this SPI arrives.
    pub(super) fn receive(&mut self, now: Duration, spi: u32) {
        let owner = || -> Option<InboundOwner> {
            self.runtime.claim_inbound(WORKER, self.reader.lookup_spi(spi)?).ok()
        };
        let Some(owner) = owner() else { panic!("unknown SPI {spi:#x}") };
        owner.add_received(1, PACKET_BYTES);
        owner.set_last_heard(now.as_millis() as u64);
    }

    pub(super) fn holding(&self) -> Holding {
        Holding {
            heap: self.held,
            load: self.control.load(),
            ike: self.control.ike_tables(),
            carried: self
                .policies
                .iter()
                .filter(|policy| self.reader.policy_word(**policy).is_some())
                .count(),
        }
    }
}
