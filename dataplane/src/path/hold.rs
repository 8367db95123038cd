//! Packets that a permit protects while there is no SA: they are held in bounded queues, and an SA
//! is requested.

use crate::count::counter::Counter;
use crate::count::drop_reason::DropReason;
use crate::path::context::{Context, Env};
use crate::path::packet::Packet;
use crate::path::wait::{Admission, WaitQueues};
use crate::policy::flow::Flow;
use sa_table::{AcquireOutcome, Event, PolicyId, PolicyVersion};

/// The hold queues of one worker.
#[derive(Debug)]
pub struct Hold {
    waiting: WaitQueues<PolicyId, Packet>,
    policies: Vec<PolicyId>,
    /// The configuration under which the packets were held: policy numbers are valid within one
    /// configuration only.
    version: PolicyVersion,
    expiry_ms: u64,
}

/// Limits of the hold queues.
#[derive(Clone, Copy, Debug)]
pub struct HoldLimits {
    /// Packets of all policies together.
    pub packets: u32,
    /// Packets of one policy.
    pub per_policy: u32,
    /// How long a packet waits, in milliseconds. Longer than an IKE initiation takes, shorter than
    /// the time after which delivery is useless.
    pub expiry_ms: u64,
}

impl Default for HoldLimits {
    fn default() -> HoldLimits {
        HoldLimits { packets: 512, per_policy: 64, expiry_ms: 10_000 }
    }
}

impl Hold {
    /// Empty queues.
    pub fn new(limits: HoldLimits) -> Hold {
        Hold {
            waiting: WaitQueues::new(limits.packets, limits.per_policy),
            policies: Vec::with_capacity(limits.packets as usize),
            version: PolicyVersion::default(),
            expiry_ms: limits.expiry_ms,
        }
    }

    /// Holds a packet until its policy has an SA, and requests one.
    pub fn push(&mut self, policy: PolicyId, packet: Packet, env: &Env<'_>, context: &mut Context) {
        let tuple = Flow::of(&packet.ip).five_tuple();
        match env.shared.runtime.raise_acquire(policy, &tuple, context.now_ms) {
            AcquireOutcome::Raised | AcquireOutcome::Renewed => {
                context.counts.add(Counter::Acquires, 1);
                context.events.send(&Event::Acquire { policy, flow: tuple });
            }
            AcquireOutcome::Standing => {}
        }
        context.counts.add(Counter::Held, 1);
        match self.waiting.push(policy, packet, context.now_ms) {
            Admission::Waiting => {}
            Admission::Replaced(packet) | Admission::Refused(packet) => {
                context.drop(packet.frame, DropReason::HoldOverflow);
            }
        }
    }

    /// Moves the packets whose policy has an SA now to `released`; after a change of the
    /// configuration all of them, because it may have given them another policy. Drops packets that
    /// waited too long.
    pub fn release(&mut self, env: &Env<'_>, context: &mut Context, released: &mut Vec<Packet>) {
        let version = env.views.policy.version();
        let reconfigured = std::mem::replace(&mut self.version, version) != version;
        if self.waiting.is_empty() {
            return;
        }
        let mut policies = std::mem::take(&mut self.policies);
        policies.extend(self.waiting.keys());
        for policy in &policies {
            let has_sa = env.shared.table.policy_word(*policy).is_some();
            if !(has_sa || reconfigured) {
                continue;
            }
            while let Some(packet) = self.waiting.pop(*policy) {
                released.push(packet);
            }
            if has_sa {
                env.shared.runtime.clear_acquire(*policy);
            }
        }
        policies.clear();
        self.policies = policies;
        self.expire(context);
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns every frame to the pool when the worker ends.
    pub fn clear(&mut self, context: &mut Context) {
        while let Some(packet) = self.waiting.pop_older(u64::MAX) {
            context.pool.put(packet.frame);
        }
    }

    fn expire(&mut self, context: &mut Context) {
        let Some(deadline) = context.now_ms.checked_sub(self.expiry_ms) else { return };
        while let Some(packet) = self.waiting.pop_older(deadline) {
            context.drop(packet.frame, DropReason::HoldExpired);
        }
    }
}
