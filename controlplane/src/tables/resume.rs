//! Taking over the table of a previous control plane at start-up.

use std::collections::{BTreeMap, BTreeSet};

use ike::ChildId;
use sa_table::{PolicyId, RuntimeReader, SlotWord, TableWriter};

use super::{PublishedNames, Slots, Tables};
use crate::checkpoint::{Memory, StoredPair};

impl Tables {
    /// Takes over the segments. State of a previous control plane that `memory` describes stays in
    /// service: policies keep their IDs and SAs their slots. Everything else is retired; the
    /// traffic that it protected is held, never sent in clear.
    pub fn new(table: TableWriter, runtime: RuntimeReader, memory: &Memory) -> Self {
        let mut tables = Tables {
            table,
            runtime,
            pairs: BTreeMap::new(),
            manual: BTreeMap::new(),
            numbers: BTreeMap::new(),
            surplus: BTreeSet::new(),
            draining: Vec::new(),
            answered: BTreeMap::new(),
            unpublished: None,
            published: PublishedNames::default(),
        };
        let present: BTreeSet<PolicyId> = tables.table.policies().collect();
        let known =
            memory.policies.iter().filter_map(|policy| Some((policy.key()?, PolicyId(policy.number))));
        tables.numbers = known.filter(|(_, number)| present.contains(number)).collect();
        let kept: BTreeSet<PolicyId> = tables.numbers.values().copied().collect();
        let (mut inbound, mut outbound): (BTreeSet<SlotWord>, BTreeSet<SlotWord>) =
            memory.pairs.iter().filter_map(StoredPair::slot_words).unzip();
        inbound.retain(|_| !kept.is_empty());
        outbound.retain(|_| !kept.is_empty());
        tables.find_manual(&kept);
        inbound.extend(tables.manual_slots().map(|(inbound, _)| inbound));
        outbound.extend(tables.manual_slots().map(|(_, outbound)| outbound));
        tables.surplus = present.difference(&kept).copied().collect();
        for policy in &present {
            let leads_nowhere =
                tables.table.policy_word(*policy).is_none_or(|slot| !outbound.contains(&slot));
            if leads_nowhere || !kept.contains(policy) {
                // The ID was just registered with the writer, so it is known.
                let _ = tables.table.set_policy_word(*policy, None);
            }
        }
        let surplus: Vec<SlotWord> =
            tables.table.live_outbound().filter(|slot| !outbound.contains(slot)).collect();
        for slot in surplus {
            let _ = tables.table.retire_outbound(slot);
        }
        let surplus: Vec<SlotWord> =
            tables.table.live_inbound().filter(|slot| !inbound.contains(slot)).collect();
        for slot in surplus {
            let _ = tables.table.retire_inbound(slot);
        }
        tables
    }

    /// Adopts a pair of a previous control plane under a new ID. Returns `false` if one of its
    /// slots is gone.
    pub fn adopt(&mut self, pair: ChildId, stored: &StoredPair) -> bool {
        let Some((inbound, outbound)) = stored.slot_words() else { return false };
        let live =
            self.table.inbound_record(inbound).is_some() && self.table.outbound_record(outbound).is_some();
        if live {
            self.pairs.insert(pair, Slots { inbound, outbound });
        }
        live
    }

    /// Retires pairs that were kept for [`Tables::adopt`] and not adopted.
    pub fn retire_strangers(&mut self) {
        let (mut ours_in, ours_out): (BTreeSet<SlotWord>, BTreeSet<SlotWord>) =
            self.pairs.values().map(|slots| (slots.inbound, slots.outbound)).unzip();
        ours_in.extend(self.draining.iter().map(|(slot, _)| *slot));
        let strange =
            |slot: &SlotWord, ours: &BTreeSet<SlotWord>| !ours.contains(slot) && !self.is_manual(*slot);
        let outbound: Vec<SlotWord> =
            self.table.live_outbound().filter(|slot| strange(slot, &ours_out)).collect();
        let inbound: Vec<SlotWord> =
            self.table.live_inbound().filter(|slot| strange(slot, &ours_in)).collect();
        for slot in outbound {
            let _ = self.table.retire_outbound(slot);
        }
        for slot in inbound {
            let _ = self.table.retire_inbound(slot);
        }
    }
}
