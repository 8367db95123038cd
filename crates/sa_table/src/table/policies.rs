//! The control plane's policies: their numbers, and the ports and rules that refer to them.

use core::sync::atomic::AtomicU64;

use super::writer::Subject;
use super::{RetireToken, TableError, TableWriter, policy_state};
use crate::ids::{PolicyId, PolicyVersion};
use crate::layout::{ArenaHead, TableControl, WorkerState};
use crate::policy::{EncodedLists, Filters, PortRecord, Rule, encode_arena, encode_filters, encode_lists};
use crate::protocol::grace;
use crate::word::{Word, store_all};

impl TableWriter {
    /// Allocates a free policy, which has no SA yet.
    ///
    /// # Errors
    /// All policies are taken.
    pub fn allocate_policy(&mut self) -> Result<PolicyId, TableError> {
        self.check_current()?;
        let policies = self.capacities.policies;
        let policy = (0..policies)
            .map(|offset| PolicyId((self.next_policy + offset) % policies))
            .find(|policy| self.policy_state(*policy) == Some(policy_state::FREE))
            .ok_or(TableError::NoFreePolicy(policies))?;
        self.next_policy = (policy.0 + 1) % policies;
        self.adopt_policy(policy)?;
        Ok(policy)
    }

    /// Allocates a certain policy.
    ///
    /// # Errors
    /// It does not exist or is taken.
    pub fn adopt_policy(&mut self, policy: PolicyId) -> Result<(), TableError> {
        self.check_current()?;
        match self.policy_state(policy) {
            Some(policy_state::FREE) => {
                let words = self.table.words();
                self.layout.policy_words.all(words)[policy.0 as usize].store_release(0);
                self.layout.policy_states.all(words)[policy.0 as usize].store_release(policy_state::USED);
                Ok(())
            }
            Some(_) => Err(TableError::PolicyTaken(policy)),
            None => Err(TableError::UnknownPolicy(policy)),
        }
    }

    /// The allocated policies; after a restart those of the previous control plane.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> {
        let states = self.layout.policy_states.all(self.table.words());
        (0..)
            .zip(states)
            .filter(|(_, state)| state.load_relaxed() == policy_state::USED)
            .map(|(id, _)| PolicyId(id))
    }

    /// Releases a policy, after rules were published that no longer refer to it. Its number is
    /// reused when every worker uses those rules. Its SA is not retired by this.
    ///
    /// # Errors
    /// The policy is not allocated.
    pub fn retire_policy(&mut self, policy: PolicyId) -> Result<RetireToken, TableError> {
        self.check_current()?;
        if self.policy_state(policy) != Some(policy_state::USED) {
            return Err(TableError::UnknownPolicy(policy));
        }
        let words = self.table.words();
        self.layout.policy_words.all(words)[policy.0 as usize].store_release(0);
        self.layout.policy_states.all(words)[policy.0 as usize].store_release(policy_state::RETIRED);
        Ok(self.retire(Subject::Policy(policy, self.policy_version())))
    }

    /// The version of the published ports and rules, 0 before the first publication.
    pub fn policy_version(&self) -> PolicyVersion {
        PolicyVersion(self.control()[TableControl::arena].load_relaxed() >> 1)
    }

    /// Counts a change of the kernel's routes or addresses that forwarding must include; call it
    /// after the change. The data plane uses it as soon as
    /// [`RuntimeReader::kernel_changes`](crate::RuntimeReader::kernel_changes) is at least the
    /// returned number.
    pub fn count_kernel_change(&mut self) -> u64 {
        let word = &self.control()[TableControl::kernel_changes];
        let count = word.load_relaxed() + 1;
        word.store_release(count);
        count
    }

    /// Publishes ports and rule lists without filters; see
    /// [`TableWriter::publish_filtered_policy`].
    ///
    /// # Errors
    /// See there.
    pub fn publish_policy<L: AsRef<[Rule]>>(
        &mut self,
        ports: &[PortRecord],
        rule_lists: &[L],
    ) -> Result<PolicyVersion, TableError> {
        self.publish_filtered_policy(ports, rule_lists, &Filters::default())
    }

    /// Publishes all ports, rule lists and filters at once. An unchanged rule list keeps its
    /// version.
    ///
    /// # Errors
    /// [`TableError::ArenaBusy`] while a worker may still read the arena that has to be filled;
    /// otherwise see [`PolicyError`](crate::PolicyError). The previous policy stays in force.
    pub fn publish_filtered_policy<L: AsRef<[Rule]>>(
        &mut self,
        ports: &[PortRecord],
        rule_lists: &[L],
        filters: &Filters,
    ) -> Result<PolicyVersion, TableError> {
        self.check_current()?;
        let version = PolicyVersion(self.policy_version().0 + 1);
        let (lists, encoded) = self.encode_policy(version, ports, rule_lists, filters)?;
        let words = self.table.words();
        let control = self.layout.control.all(words);
        let idle = (control[TableControl::arena].load_relaxed() & 1) ^ 1;
        let arena = self.layout.arenas.item(words, idle as usize).unwrap_or_default();
        if self.oldest_announcement() < self.idle_arena_since {
            return Err(TableError::ArenaBusy);
        }
        // A reader that violates the protocol and copies the arena now detects the changed version
        // word.
        arena[ArenaHead::version].store_relaxed(0);
        AtomicU64::fence_release();
        store_all(arena, &encoded);
        control[TableControl::arena].store_release(version.0 << 1 | idle);
        self.idle_arena_since = grace::raise(&control[TableControl::generation]);
        self.encoded_lists = lists;
        Ok(version)
    }

    /// Whether [`TableWriter::publish_filtered_policy`] would accept these ports, rule lists and
    /// filters. Nothing is changed.
    ///
    /// # Errors
    /// See [`PolicyError`](crate::PolicyError).
    pub fn check_policy<L: AsRef<[Rule]>>(
        &self,
        ports: &[PortRecord],
        rule_lists: &[L],
        filters: &Filters,
    ) -> Result<(), TableError> {
        let version = PolicyVersion(self.policy_version().0 + 1);
        self.encode_policy(version, ports, rule_lists, filters).map(drop)
    }

    fn encode_policy<L: AsRef<[Rule]>>(
        &self,
        version: PolicyVersion,
        ports: &[PortRecord],
        rule_lists: &[L],
        filters: &Filters,
    ) -> Result<(EncodedLists, Vec<u64>), TableError> {
        let policies = self.capacities.policies as usize;
        let lists = encode_lists(rule_lists, version, policies, &self.encoded_lists)?;
        let filters = encode_filters(filters, policies)?;
        let arena = encode_arena(version, ports, &lists, &filters, self.capacities.arena_words as usize)?;
        Ok((lists, arena))
    }

    /// Number of policies that can be allocated now. A retired one counts when no worker uses it
    /// any more.
    pub fn free_policies(&self) -> usize {
        let states = self.layout.policy_states.all(self.table.words());
        states.iter().filter(|state| state.load_relaxed() == policy_state::FREE).count()
    }

    /// The oldest policy version that some worker still uses; the current one when there is no
    /// worker.
    pub fn policy_version_in_force(&self) -> PolicyVersion {
        let workers = self.runtime_layout.workers;
        let words = self.runtime.view();
        let oldest = (0..workers.items())
            .filter_map(|worker| workers.view(words, worker))
            .map(|state| state.acquire(WorkerState::policy_version))
            .min()
            .unwrap_or(u64::MAX);
        PolicyVersion(oldest.min(self.policy_version().0))
    }

    pub(super) fn policy_state(&self, policy: PolicyId) -> Option<u64> {
        self.layout.policy_states.all(self.table.words()).get(policy.0 as usize).map(Word::load_relaxed)
    }
}
