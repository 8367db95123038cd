//! The runtime segment, across restarts of the data plane.

use core::sync::atomic::Ordering;

use super::*;

const SLOT: fn(u32) -> SlotWord = |generation| SlotWord::new(generation, 3).unwrap();

#[test]
fn an_outbound_owner_counts_and_is_watched() {
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    assert_eq!(reader.outbound(SLOT(1)), Some(OutboundStats::default()));
    let mut owner = runtime.claim_outbound(WORKER, SLOT(1), false).unwrap();
    assert_eq!((owner.take_sequence(3), owner.take_sequence(1)), (Ok(1), Ok(4)));
    owner.add_sent(4, 400);
    owner.add_errors(SaErrorKind::TooBig, 2);
    owner.set_last_sent(77);
    owner.set_learned_path_mtu(Some(1400));
    assert!(owner.raise(Level::SoftLimit) && !owner.raise(Level::SoftLimit));
    let stats = reader.outbound(SLOT(1)).unwrap();
    assert_eq!((stats.owner, stats.next_sequence, stats.reserved_until), (Some(WORKER), 5, 65537));
    assert_eq!((stats.packets, stats.bytes, stats.last_sent_ms, stats.path_mtu), (4, 400, 77, Some(1400)));
    assert_eq!((stats.errors(SaErrorKind::TooBig), stats.errors(SaErrorKind::Other)), (2, 0));
    assert!(stats.levels.contains(Level::SoftLimit) && !stats.levels.contains(Level::HardLimit));
    assert_eq!(reader.last_sent_ms(SLOT(1)), 77);
}

#[test]
fn kernel_changes_are_seen_by_each_data_plane_anew() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let (runtime, answers) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    assert_eq!((reader.kernel_changes(), answers.kernel_changes()), (0, 0));
    assert_eq!((writer.count_kernel_change(), writer.count_kernel_change()), (1, 2));
    runtime.set_kernel_changes(reader.kernel_changes());
    assert_eq!(answers.kernel_changes(), 2);
    drop(writer);
    let mut writer = segments.table_writer().unwrap();
    assert_eq!(writer.count_kernel_change(), 3, "another control plane goes on counting");
    segments.runtime_writer().unwrap();
    assert_eq!(answers.kernel_changes(), 0, "another data plane has read nothing yet");
}

#[test]
fn a_slot_has_one_owner() {
    let segments = Segments::in_memory().unwrap();
    let runtime = segments.runtime_writer().unwrap();
    let owner = runtime.claim_outbound(WORKER, SLOT(1), true).unwrap();
    let claim = |worker, slot| runtime.claim_outbound(worker, slot, true).map(|owner| owner.slot());
    assert_eq!(claim(WorkerId(0), SLOT(1)), Err(ClaimError::Other(WORKER)));
    assert_eq!(claim(WORKER, SLOT(1)), Err(ClaimError::Already));
    assert_eq!(claim(WorkerId(4), SLOT(1)), Err(ClaimError::OutOfRange));
    assert_eq!(claim(WORKER, SlotWord::new(1, 16).unwrap()), Err(ClaimError::OutOfRange));
    assert_eq!(runtime.outbound_owner(SLOT(1)), Some(WORKER));
    drop(owner);
    assert_eq!(runtime.outbound_owner(SLOT(1)), None);
    assert_eq!(claim(WorkerId(0), SLOT(1)), Ok(SLOT(1)));
    assert_eq!(claim(WORKER, SLOT(2)), Ok(SLOT(2)));
    assert_eq!(claim(WORKER, SLOT(1)), Err(ClaimError::Stale));
}

#[test]
fn a_restarted_data_plane_goes_on_behind_its_predecessor() {
    let segments = Segments::in_memory().unwrap();
    let old = segments.runtime_writer().unwrap();
    let mut old_outbound = old.claim_outbound(WORKER, SLOT(1), true).unwrap();
    assert_eq!(old_outbound.take_sequence(10), Ok(1));
    let old_inbound = old.claim_inbound(WORKER, SLOT(1)).unwrap();
    old_inbound.replay().top.store(500, Ordering::Relaxed);
    old_inbound.replay().bitmap[63].store(9, Ordering::Relaxed);
    old_inbound.set_last_heard(123);

    let new = segments.runtime_writer().unwrap();
    assert_eq!((new.incarnation(), new.is_current(), old.is_current()), (2, true, false));
    let mut new_outbound = new.claim_outbound(WorkerId(0), SLOT(1), true).unwrap();
    assert_eq!(new_outbound.take_sequence(1), Ok(65537));
    let new_inbound = new.claim_inbound(WorkerId(0), SLOT(1)).unwrap();
    assert_eq!(new_inbound.replay().top.load(Ordering::Relaxed), 500);
    assert_eq!(new_inbound.replay().bitmap[63].load(Ordering::Relaxed), 9);

    assert_eq!(old.claim_outbound(WORKER, SLOT(2), true).map(|_| ()), Err(ClaimError::Superseded));
    // The stale owner may use its reserved block, which no other owner uses, and gets no further
    // one.
    assert_eq!(old_outbound.take_sequence(1), Ok(11));
    assert_eq!(old_outbound.take_sequence(65536), Err(SequenceError::Superseded));
    drop((old_outbound, old_inbound));
    assert_eq!(new.outbound_owner(SLOT(1)), Some(WorkerId(0)), "a stale owner gives nothing back");
}

#[test]
fn a_new_sa_in_a_slot_begins_with_nothing_of_the_old_one() {
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    let old = runtime.claim_inbound(WORKER, SLOT(1)).unwrap();
    old.replay().top.store(500, Ordering::Relaxed);
    old.replay().bitmap[0].store(1, Ordering::Relaxed);
    old.add_received(1, 100);
    old.add_errors(SaErrorKind::Replay, 1);
    old.set_last_heard(5);
    old.report_endpoint(PeerEndpoint { address: ip("203.0.113.9"), port: 60000 });
    let first_report = reader.inbound(SLOT(1)).unwrap().new_endpoint.unwrap();
    assert_eq!(first_report.endpoint.port, 60000);
    drop(old);
    let new = runtime.claim_inbound(WORKER, SLOT(2)).unwrap();
    assert_eq!(reader.inbound(SLOT(1)), None, "those are not the statistics of the old SA");
    assert_eq!(reader.last_heard_ms(SLOT(1)), 0);
    let mut fresh = InboundStats::default();
    fresh.owner = Some(WORKER);
    assert_eq!(reader.inbound(SLOT(2)), Some(fresh));
    assert!(new.replay().bitmap.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    new.report_endpoint(PeerEndpoint { address: ip("203.0.113.9"), port: 60001 });
    assert!(reader.inbound(SLOT(2)).unwrap().new_endpoint.unwrap().version > first_report.version);
}

#[test]
fn a_32_bit_sa_ends() {
    let segments = Segments::in_memory().unwrap();
    let runtime = segments.runtime_writer().unwrap();
    let mut owner = runtime.claim_outbound(WORKER, SLOT(1), false).unwrap();
    assert_eq!(owner.take_sequence(u32::MAX), Ok(1));
    assert_eq!((owner.take_sequence(1), owner.remaining()), (Err(SequenceError::Exhausted), 0));
}

#[test]
fn a_request_stands_until_it_is_withdrawn_and_survives_a_restart() {
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    let flow = FiveTuple {
        source: ip("10.0.0.1"),
        destination: ip("10.1.0.1"),
        protocol: 17,
        source_port: 5,
        destination_port: 6,
    };
    assert_eq!(runtime.raise_acquire(PolicyId(4), &flow, 100), AcquireOutcome::Raised);
    assert_eq!(runtime.raise_acquire(PolicyId(4), &flow, 200), AcquireOutcome::Standing);
    assert_eq!(runtime.raise_acquire(PolicyId(99), &flow, 200), AcquireOutcome::Standing);
    let runtime = segments.runtime_writer().unwrap();
    let request = AcquireRequest { policy: PolicyId(4), count: 1, flow, raised_ms: 100 };
    assert_eq!(reader.acquires().collect::<Vec<_>>(), [request]);
    runtime.clear_acquire(PolicyId(4));
    assert_eq!(reader.acquires().count(), 0);
}

#[test]
fn workers_are_watched() {
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    assert_eq!(reader.worker(WorkerId(4)), None);
    runtime.announce(WORKER, Generation(9));
    runtime.announce_policy(WORKER, PolicyVersion(2));
    runtime.heartbeat(WORKER, 1000);
    runtime.add_drops(WORKER, 5, 3);
    runtime.add_drops(WORKER, DROP_COUNTERS, 1);
    runtime.add_counter(WORKER, 63, 4);
    let status = reader.worker(WORKER).unwrap();
    assert_eq!((status.announced, status.policy_version), (Some(Generation(9)), Some(PolicyVersion(2))));
    assert_eq!(status.heartbeat_ms, 1000);
    assert_eq!((reader.drops(WORKER)[5], reader.drops(WORKER).iter().sum::<u64>()), (3, 3));
    assert_eq!((reader.counters(WORKER)[63], reader.counters(WORKER).iter().sum::<u64>()), (4, 4));
    runtime.remove_worker(WORKER);
    let status = reader.worker(WORKER).unwrap();
    assert_eq!((status.announced, status.policy_version), (None, None));
}

#[test]
fn events_wake_a_sleeping_control_plane_and_a_full_ring_does_not_block() {
    let segments = Segments::in_memory().unwrap();
    let mut receiver = segments.event_receiver().unwrap();
    let mut senders = [0, 1].map(|worker| segments.event_sender(WorkerId(worker)).unwrap());
    assert!(matches!(segments.event_sender(WorkerId(4)), Err(AttachError::Worker { worker: 4, workers: 4 })));
    let event = Event::PeerEndpoint { slot: SLOT(1) };
    assert_eq!(senders[0].send(&event), SendOutcome::Queued);
    assert!(!is_readable(&receiver), "nobody asked to be woken");
    assert_eq!(receiver.arm(), Some((WorkerId(0), event)));
    assert_eq!(receiver.arm(), None);
    for _ in 0..8 {
        assert_eq!(senders[1].send(&event), SendOutcome::Queued);
    }
    assert_eq!(senders[1].send(&event), SendOutcome::Full);
    assert_eq!(senders[0].send(&event), SendOutcome::Queued);
    assert!(is_readable(&receiver));
    receiver.clear_wake();
    assert!(!is_readable(&receiver));
    let from: Vec<_> = core::iter::from_fn(|| receiver.receive()).map(|(worker, _)| worker.0).collect();
    assert_eq!((from.len(), from.iter().filter(|worker| **worker == 0).count()), (9, 1));
    assert!(from[..2].contains(&0), "a busy worker does not starve the other");
}

fn is_readable(receiver: &EventReceiver) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let descriptor = receiver.wake_descriptor();
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn a_checkpoint_outlives_its_writer_and_has_a_limit() {
    let segments = Segments::in_memory().unwrap();
    let mut checkpoint = segments.checkpoint().unwrap();
    assert!(checkpoint.load().is_none());
    assert_eq!(checkpoint.store(b"sessions"), Ok(1));
    let too_large = vec![0; checkpoint.capacity() + 1];
    let error = CheckpointTooLarge { given: 4097, capacity: 4096 };
    assert_eq!(checkpoint.store(&too_large), Err(error));
    drop(checkpoint);
    let mut checkpoint = segments.checkpoint().unwrap();
    assert_eq!(&checkpoint.load().unwrap().1[..], b"sessions");
    checkpoint.clear();
    assert!(checkpoint.load().is_none());
}
