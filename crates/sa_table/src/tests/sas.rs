//! The life of SAs: installed, found, retired, erased, slot reused.

use std::os::fd::AsFd;

use super::*;
use crate::layout::{SlotLine, TableLayout};
use crate::mapping::{ReadOnlyMapping, WritableMapping};
use crate::table::slot_state;
use crate::word::Word;

/// All words of the table segment.
fn table_words(segments: &Segments) -> Vec<u64> {
    let table = segments.descriptors(Role::DataPlane).unwrap().take("table").unwrap();
    let mapping = ReadOnlyMapping::new(table.as_fd(), Locking::BestEffort).unwrap();
    let mut words = vec![0; mapping.view().len()];
    mapping.view().copy_to(&mut words);
    words
}

fn holds_key(segments: &Segments, octet: u8) -> bool {
    table_words(segments).contains(&u64::from_le_bytes([octet; 8]))
}

#[test]
fn a_pair_of_sas_is_found_by_policy_and_by_spi() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let policy = writer.allocate_policy().unwrap();
    assert_eq!((reader.policy_word(policy), reader.lookup_spi(300)), (None, None));
    let in_slot = writer.install_inbound(&inbound(300, policy)).unwrap();
    let out_record = OutboundSaRecord { peer: Some(in_slot), ..outbound(400, policy) };
    let out_slot = writer.install_outbound(&out_record).unwrap();
    writer.set_inbound_peer(in_slot, Some(out_slot)).unwrap();
    assert_eq!(reader.policy_word(policy), None, "not before the word is set");
    assert_eq!(writer.set_policy_word(policy, Some(out_slot)), Ok(None));
    assert_eq!(reader.policy_word(policy), Some(out_slot));
    assert_eq!(reader.outbound(out_slot), Some(out_record));
    assert_eq!(reader.lookup_spi(300), Some(in_slot));
    assert_eq!(reader.inbound(in_slot), Some(inbound(300, policy)));
    assert_eq!(
        (reader.inbound_peer(in_slot), reader.outbound_peer(out_slot)),
        (Some(out_slot), Some(in_slot))
    );
}

#[test]
fn one_spi_leads_to_an_sa_per_local_address() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let first = writer.install_inbound(&inbound(300, PolicyId(0))).unwrap();
    let other = InboundSaRecord { local: ip("192.0.2.2"), ..inbound(300, PolicyId(0)) };
    let second = writer.install_inbound(&other).unwrap();
    let mut found: Vec<_> = reader.lookup_spi_all(300).collect();
    found.sort();
    assert_eq!(found, [first, second]);
    let duplicate = writer.install_inbound(&other);
    assert_eq!(duplicate, Err(TableError::Duplicate { direction: "inbound", spi: 300, slot: second }));
    writer.retire_inbound(first).unwrap();
    assert_eq!(reader.lookup_spi_all(300).collect::<Vec<_>>(), [second]);
}

#[test]
fn records_that_must_not_stand_are_refused() {
    let segments = Segments::in_memory().unwrap();
    let mut writer = segments.table_writer().unwrap();
    assert_eq!(writer.install_inbound(&inbound(255, PolicyId(0))), Err(TableError::ReservedSpi(255)));
    let wide = InboundSaRecord { replay_window: 64 * 64 + 1, ..inbound(300, PolicyId(0)) };
    assert_eq!(writer.install_inbound(&wide), Err(TableError::ReplayWindow { given: 4097, most: 4096 }));
    let slot = writer.install_outbound(&outbound(400, PolicyId(0))).unwrap();
    let again = writer.install_outbound(&outbound(400, PolicyId(0)));
    assert_eq!(again, Err(TableError::Duplicate { direction: "outbound", spi: 400, slot }));
    assert_eq!(writer.set_policy_word(PolicyId(3), None), Err(TableError::UnknownPolicy(PolicyId(3))));
    assert_eq!(writer.free_slots(), (16, 15));
}

#[test]
fn keys_are_erased_after_every_worker_went_on_and_not_before() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let runtime = segments.runtime_writer().unwrap();
    let policy = writer.allocate_policy().unwrap();
    let slot = writer.install_outbound(&outbound(400, policy)).unwrap();
    writer.set_policy_word(policy, Some(slot)).unwrap();
    runtime.announce(WORKER, reader.generation());

    let token = writer.retire_outbound(slot).unwrap();
    assert_eq!((reader.policy_word(policy), reader.outbound(slot)), (None, None));
    assert_eq!(writer.collect(5), Collected { waiting: 1, ..Collected::default() });
    assert_eq!(writer.collect(30), Collected { waiting: 1, oldest_wait_ms: 25, ..Collected::default() });
    assert!(holds_key(&segments, 0xa5) && !writer.is_collected(token));

    runtime.announce(WORKER, reader.generation());
    assert_eq!(writer.collect(40), Collected { slots: 1, ..Collected::default() });
    assert!(!holds_key(&segments, 0xa5) && writer.is_collected(token));
}

#[test]
fn inbound_keys_are_erased_while_all_workers_sleep() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let runtime = segments.runtime_writer().unwrap();
    runtime.announce(WORKER, reader.generation());
    let slot = writer.install_inbound(&inbound(300, PolicyId(0))).unwrap();
    writer.retire_inbound(slot).unwrap();
    assert_eq!((reader.lookup_spi(300), writer.collect(0).waiting), (None, 1));
    runtime.announce_offline(WORKER);
    assert_eq!((writer.collect(0).slots, holds_key(&segments, 0x5a)), (1, false));
}

#[test]
fn a_slot_used_again_has_another_generation() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let mut slots = Vec::new();
    for spi in 300..316 {
        slots.push(writer.install_outbound(&outbound(spi, PolicyId(0))).unwrap());
    }
    let full = TableError::Full { direction: "outbound", capacity: 16 };
    assert_eq!(writer.install_outbound(&outbound(999, PolicyId(0))), Err(full));
    writer.retire_outbound(slots[4]).unwrap();
    writer.collect(0);
    let next = writer.install_outbound(&outbound(999, PolicyId(0))).unwrap();
    assert_eq!((next.slot(), next.generation()), (slots[4].slot(), slots[4].generation() + 1));
    assert_eq!(reader.outbound(slots[4]), None);
    assert!(reader.is_live_outbound(next) && !reader.is_live_outbound(slots[4]));
    assert_eq!(writer.retire_outbound(slots[4]), Err(TableError::NotLive(slots[4])));
}

#[test]
fn a_chain_of_sas_closes_over_a_retired_one() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let policy = writer.allocate_policy().unwrap();
    let [a, b, c] = [401, 402, 403].map(|spi| writer.install_outbound(&outbound(spi, policy)).unwrap());
    writer.set_next_outbound(a, Some(b)).unwrap();
    writer.set_next_outbound(b, Some(c)).unwrap();
    writer.set_policy_word(policy, Some(a)).unwrap();
    writer.retire_outbound(b).unwrap();
    assert_eq!((reader.next_outbound(a), reader.next_outbound(c)), (Some(c), None));
    writer.retire_outbound(a).unwrap();
    assert_eq!(reader.policy_word(policy), Some(c));
}

#[test]
fn a_moved_peer_is_noticed_once() {
    let segments = Segments::in_memory().unwrap();
    let (mut writer, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let slot = writer.install_outbound(&outbound(400, PolicyId(0))).unwrap();
    let EndpointRead::New(endpoint, version) = reader.peer_endpoint(slot, EndpointVersion::default()) else {
        panic!("the record's endpoint is the first one")
    };
    assert_eq!(endpoint, PeerEndpoint { address: ip("198.51.100.1"), port: 4500 });
    assert_eq!(reader.peer_endpoint(slot, version), EndpointRead::Unchanged);
    let moved = PeerEndpoint { address: ip("203.0.113.9"), port: 60000 };
    writer.set_peer_endpoint(slot, moved).unwrap();
    assert!(
        matches!(reader.peer_endpoint(slot, version), EndpointRead::New(endpoint, _) if endpoint == moved)
    );
    writer.retire_outbound(slot).unwrap();
    assert_eq!(reader.peer_endpoint(slot, version), EndpointRead::Busy);
}

#[test]
fn a_new_control_plane_finds_what_the_old_one_left() {
    let segments = Segments::in_memory().unwrap();
    let (mut old, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let runtime = segments.runtime_writer().unwrap();
    let policy = old.allocate_policy().unwrap();
    let kept = old.install_outbound(&outbound(400, policy)).unwrap();
    let kept_inbound = old.install_inbound(&inbound(300, policy)).unwrap();
    let retired = old.install_outbound(&outbound(401, policy)).unwrap();
    old.set_policy_word(policy, Some(kept)).unwrap();
    runtime.announce(WORKER, reader.generation());
    old.retire_outbound(retired).unwrap();

    let mut new = segments.table_writer().unwrap();
    assert!(!old.is_current());
    assert_eq!(old.install_inbound(&inbound(301, policy)), Err(TableError::Superseded));
    assert_eq!(old.collect(0), Collected::default());
    assert_eq!(reader.policy_word(policy), Some(kept), "no packet is lost");
    assert_eq!(new.live_outbound().collect::<Vec<_>>(), [kept]);
    assert_eq!(new.live_inbound().collect::<Vec<_>>(), [kept_inbound]);
    assert_eq!(new.policies().collect::<Vec<_>>(), [policy]);
    assert_eq!(new.collect(0).waiting, 1, "what was retired is retired again, and waited for");
    runtime.announce(WORKER, reader.generation());
    assert_eq!(new.collect(0).slots, 1);
    assert_eq!(new.free_slots(), (15, 15));
    let again = new.install_outbound(&outbound(400, policy));
    assert!(matches!(again, Err(TableError::Duplicate { slot, .. }) if slot == kept));
}

/// Leaves the line of an outbound slot in the state after the writer died in the middle of a
/// change.
fn leave_halfway(segments: &Segments, slot: SlotWord, field: usize, value: u64) {
    let table = segments.descriptors(Role::ControlPlane).unwrap().take("table").unwrap();
    let mapping = WritableMapping::new(table.as_fd(), Locking::BestEffort).unwrap();
    let lines = TableLayout::new(segments.capacities()).outbound_lines;
    lines.item(mapping.words(), slot.slot() as usize).unwrap()[field].store_relaxed(value);
}

#[test]
fn a_record_whose_writer_died_while_building_is_erased() {
    let segments = Segments::in_memory().unwrap();
    let mut old = segments.table_writer().unwrap();
    let slot = old.install_outbound(&outbound(400, PolicyId(0))).unwrap();
    let building = u64::from(slot.generation()) << 32 | slot_state::BUILDING;
    leave_halfway(&segments, slot, SlotLine::state, building);
    assert!(holds_key(&segments, 0xa5));
    let mut new = segments.table_writer().unwrap();
    assert!(!holds_key(&segments, 0xa5));
    assert_eq!((new.live_outbound().count(), new.free_slots()), (0, (16, 16)));
    assert!(new.install_outbound(&outbound(400, PolicyId(0))).is_ok());
}

#[test]
fn an_endpoint_whose_writer_died_while_changing_it_is_the_first_one_again() {
    let segments = Segments::in_memory().unwrap();
    let (mut old, reader) = (segments.table_writer().unwrap(), segments.table_reader().unwrap());
    let slot = old.install_outbound(&outbound(400, PolicyId(0))).unwrap();
    old.set_peer_endpoint(slot, PeerEndpoint { address: ip("203.0.113.9"), port: 60000 }).unwrap();
    leave_halfway(&segments, slot, SlotLine::endpoint_sequence, 5);
    leave_halfway(&segments, slot, SlotLine::endpoint + 1, 99);
    assert_eq!(reader.peer_endpoint(slot, EndpointVersion::default()), EndpointRead::Busy);
    let _new = segments.table_writer().unwrap();
    let first = PeerEndpoint { address: ip("198.51.100.1"), port: 4500 };
    let read = reader.peer_endpoint(slot, EndpointVersion::default());
    assert!(matches!(read, EndpointRead::New(endpoint, _) if endpoint == first));
}
