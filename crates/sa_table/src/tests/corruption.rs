//! No content of a segment makes the other process panic.

use std::os::fd::AsFd;

use proptest::prelude::*;

use super::*;
use crate::layout::Header;
use crate::mapping::WritableMapping;
use crate::word::Word;

/// Overwrites arbitrary words after the header of a segment.
fn damage(segments: &Segments, role: Role, name: &str, damages: &[(prop::sample::Index, u64)]) {
    let descriptor = segments.descriptors(role).unwrap().take(name).unwrap();
    let mapping = WritableMapping::new(descriptor.as_fd(), Locking::BestEffort).unwrap();
    let words = &mapping.words()[Header::WORDS..];
    for (place, value) in damages {
        place.get(words).store_relaxed(*value);
    }
}

fn damages() -> impl Strategy<Value = Vec<(prop::sample::Index, u64)>> {
    let value = prop_oneof![any::<u64>(), 0u64..20, (0u64..20).prop_map(|n| n << 32 | 2), Just(u64::MAX)];
    proptest::collection::vec((any::<prop::sample::Index>(), value), 200..2000)
}

fn populated() -> (Segments, SlotWord, SlotWord) {
    let segments = Segments::in_memory().unwrap();
    let mut writer = segments.table_writer().unwrap();
    let policy = writer.allocate_policy().unwrap();
    let out_slot = writer.install_outbound(&outbound(400, policy)).unwrap();
    let in_slot = writer.install_inbound(&inbound(300, policy)).unwrap();
    writer.set_policy_word(policy, Some(out_slot)).unwrap();
    writer.publish_policy(&[], &[vec![]]).unwrap();
    (segments, in_slot, out_slot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_worker_survives_any_table(damages in damages(), spi: u32) {
        let (segments, in_slot, out_slot) = populated();
        let reader = segments.table_reader().unwrap();
        damage(&segments, Role::ControlPlane, "table", &damages);
        for policy in 0..20 {
            if let Some(slot) = reader.policy_word(PolicyId(policy)) {
                let _ = (reader.outbound(slot), reader.inbound(slot), reader.next_outbound(slot));
            }
        }
        for generation in 1..20 {
            for slot in 0..20 {
                let slot = SlotWord::new(generation, slot).unwrap();
                let _ = (reader.outbound(slot), reader.inbound(slot), reader.peer_endpoint(slot, EndpointVersion::default()));
                let _ = (reader.inbound_peer(slot), reader.outbound_peer(slot));
            }
        }
        let _ = (reader.outbound(out_slot), reader.inbound(in_slot), reader.load_policy());
        prop_assert!(reader.lookup_spi_all(300).count() <= 8 * 7);
        prop_assert!(reader.lookup_spi_all(spi).count() <= 8 * 7);
        // A control plane that takes over such a table does not panic either.
        let mut writer = segments.table_writer().unwrap();
        let slots: Vec<_> = writer.live_inbound().collect();
        for slot in slots {
            let _ = writer.retire_inbound(slot);
        }
        let slots: Vec<_> = writer.live_outbound().collect();
        for slot in slots {
            let _ = writer.retire_outbound(slot);
        }
        writer.collect(0);
        let _ = writer.install_inbound(&inbound(310, PolicyId(0)));
        let _ = writer.install_outbound(&outbound(410, PolicyId(0)));
        let _ = writer.publish_policy(&[], &[vec![]]);
        let _ = writer.allocate_policy().map(|policy| writer.retire_policy(policy));
    }

    #[test]
    fn a_control_plane_survives_any_runtime_and_any_events(damages in damages(), more in damages()) {
        let (segments, in_slot, out_slot) = populated();
        let reader = segments.runtime_reader().unwrap();
        let mut receiver = segments.event_receiver().unwrap();
        damage(&segments, Role::DataPlane, "runtime", &damages);
        damage(&segments, Role::DataPlane, "events", &more);
        let _ = (reader.inbound(in_slot), reader.outbound(out_slot), reader.acquires().count());
        for slot in 0..20 {
            let slot = SlotWord::new(1, slot).unwrap();
            let _ = (reader.inbound(slot), reader.outbound(slot), reader.last_heard_ms(slot));
        }
        for worker in 0..5 {
            let _ = (reader.worker(WorkerId(worker)), reader.drops(WorkerId(worker)));
        }
        prop_assert!(core::iter::from_fn(|| receiver.receive()).count() <= 4 * 8);
        let mut writer = segments.table_writer().unwrap();
        let _ = (writer.collect(0), writer.policy_version_in_force());
        // So does a data plane that takes over.
        let runtime = segments.runtime_writer().unwrap();
        if let Ok(mut owner) = runtime.claim_outbound(WORKER, out_slot, true) {
            let _ = owner.take_sequence(5);
        }
        let _ = segments.event_sender(WORKER).unwrap().send(&Event::PeerEndpoint { slot: in_slot });
    }
}
