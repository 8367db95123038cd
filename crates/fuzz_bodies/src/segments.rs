//! Shared memory with any content: attaching, and reading records, runtime state, events and the
//! checkpoint.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sa_table::{EndpointVersion, Event, PolicyId, Role, Segments, SlotWord, WorkerId};

/// Input: patches of [segment and offset (3), length, octets], written over empty segments. No
/// attaching or reading process panics or loops.
pub fn segments(data: &[u8]) {
    let Ok(segments) = Segments::in_memory() else { return };
    let files: Vec<File> = [
        (Role::ControlPlane, "table"),
        (Role::DataPlane, "runtime"),
        (Role::DataPlane, "events"),
        (Role::ControlPlane, "checkpoint"),
    ]
    .into_iter()
    .filter_map(|(role, name)| Some(File::from(segments.descriptors(role).ok()?.take(name)?)))
    .collect();
    // One process attaches before the damage, another one after it.
    let early = (segments.table_reader(), segments.runtime_reader(), segments.event_receiver());
    let mut rest = data;
    while let Some((&[which, low, high, length], after)) = rest.split_first_chunk::<4>() {
        let (octets, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let Some(file) = files.get(usize::from(which & 3)) else { continue };
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let page = u64::from(which >> 2);
        let at = (page << 16 | u64::from(u16::from_le_bytes([low, high]))) % size.max(1);
        let room = usize::try_from(size - at).unwrap_or(0);
        let _ = file.write_at(&octets[..octets.len().min(room)], at);
    }
    if let (Ok(table), Ok(runtime), Ok(mut events)) = early {
        read(&table, &runtime, &mut events);
    }
    let late = (segments.table_reader(), segments.runtime_reader(), segments.event_receiver());
    if let (Ok(table), Ok(runtime), Ok(mut events)) = late {
        read(&table, &runtime, &mut events);
    }
    if let Ok(mut writer) = segments.table_writer() {
        let inbound: Vec<SlotWord> = writer.live_inbound().collect();
        for slot in inbound {
            let _ = writer.retire_inbound(slot);
        }
        let outbound: Vec<SlotWord> = writer.live_outbound().collect();
        for slot in outbound {
            let _ = writer.retire_outbound(slot);
        }
        writer.collect(0);
        let _ =
            (writer.publish_policy::<Vec<sa_table::Rule>>(&[], &[vec![]]), writer.policy_version_in_force());
        let _ = writer.allocate_policy().map(|policy| writer.retire_policy(policy));
    }
    if let Ok(writer) = segments.runtime_writer() {
        for slot in (0..4).filter_map(|slot| SlotWord::new(1, slot)) {
            if let Ok(mut owner) = writer.claim_outbound(WorkerId(0), slot, true) {
                let _ = owner.take_sequence(5);
            }
            let _ = writer.claim_inbound(WorkerId(0), slot).map(|owner| owner.received());
        }
    }
    if let Ok(mut sender) = segments.event_sender(WorkerId(0))
        && let Some(slot) = SlotWord::new(1, 0)
    {
        let _ = sender.send(&Event::PeerEndpoint { slot });
    }
    if let Ok(checkpoint) = segments.checkpoint() {
        let loaded = checkpoint.load();
        assert!(loaded.is_none_or(|(_, bytes)| bytes.len() <= checkpoint.capacity()));
    }
}

fn read(
    table: &sa_table::TableReader,
    runtime: &sa_table::RuntimeReader,
    events: &mut sa_table::EventReceiver,
) {
    for slot in (0..20).flat_map(|slot| (1..3).filter_map(move |generation| SlotWord::new(generation, slot)))
    {
        let _ = (table.outbound(slot), table.inbound(slot), table.next_outbound(slot));
        let _ = (table.inbound_peer(slot), table.outbound_peer(slot));
        let _ = table.peer_endpoint(slot, EndpointVersion::default());
        let _ = (runtime.outbound(slot), runtime.inbound(slot), runtime.last_heard_ms(slot));
    }
    for policy in 0..20 {
        let _ = (table.policy_word(PolicyId(policy)), runtime.acquire(PolicyId(policy)));
    }
    for worker in (0..5).map(WorkerId) {
        let _ = (runtime.worker(worker), runtime.drops(worker), runtime.counters(worker));
    }
    assert!(table.lookup_spi_all(300).count() <= 8 * 7, "a chain without end");
    let _ = (table.load_policy(), runtime.acquires().count());
    assert!(std::iter::from_fn(|| events.receive()).count() <= 4 * 8, "events without end");
}
