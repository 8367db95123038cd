//! Message IDs and retransmission (RFC 7296 §2.1 to §2.3), one request in flight each way.

use std::time::Duration;

use crate::config::Retransmission;
use crate::message::Exchange;
use crate::time::Time;

/// Our requests.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// ID of the next new request.
    pub(crate) next_id: u32,
    /// The request that waits for its answer. The window is one: more would have to be allowed by
    /// SET_WINDOW_SIZE.
    pub(crate) in_flight: Option<InFlight>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) id: u32,
    pub(crate) exchange: Exchange,
    /// The datagrams, without the non-ESP marker. RFC 7296 §2.1: a retransmission is bitwise
    /// identical.
    pub(crate) packets: Vec<Vec<u8>>,
    /// When it is sent again, or given up.
    pub(crate) next_at: Time,
    schedule: Schedule,
}

#[derive(Debug)]
enum Schedule {
    /// Growing intervals up to a last moment.
    Backoff { interval: Duration, settings: Retransmission, give_up_at: Time },
    /// A liveness probe: constant intervals, counted.
    Probe { interval: Duration, retries: u32, left: u32 },
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Retransmit,
    /// No answer within the whole retransmission time.
    GiveUp,
    /// The liveness probe was not answered.
    PeerDead,
}

impl InFlight {
    /// A request with growing intervals, sent now.
    pub(crate) fn backoff(
        id: u32,
        exchange: Exchange,
        packets: Vec<Vec<u8>>,
        now: Time,
        settings: Retransmission,
    ) -> Self {
        let interval = settings.initial.max(Duration::from_millis(1));
        let give_up_at = now + settings.give_up;
        let next_at = (now + interval).min(give_up_at);
        InFlight {
            id,
            exchange,
            packets,
            next_at,
            schedule: Schedule::Backoff { interval, settings, give_up_at },
        }
    }

    /// A liveness probe, sent now: the peer is dead after `interval` × (`retries` + 1).
    ///
    /// The constant interval deviates from the exponential backoff of RFC 7296 §2.1 on purpose: the
    /// operator configures a detection time.
    pub(crate) fn probe(
        id: u32,
        exchange: Exchange,
        packets: Vec<Vec<u8>>,
        now: Time,
        interval: Duration,
        retries: u32,
    ) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        let schedule = Schedule::Probe { interval, retries, left: retries };
        InFlight { id, exchange, packets, next_at: now + interval, schedule }
    }

    /// From now on the request serves as a liveness probe; false if it does already.
    pub(crate) fn turn_into_probe(&mut self, now: Time, interval: Duration, retries: u32) -> bool {
        if matches!(self.schedule, Schedule::Probe { .. }) {
            return false;
        }
        let interval = interval.max(Duration::from_millis(1));
        self.schedule = Schedule::Probe { interval, retries, left: retries };
        self.next_at = now + interval;
        true
    }

    /// An authentic message came in: a probe's count restarts.
    pub(crate) fn peer_heard(&mut self) {
        if let Schedule::Probe { retries, left, .. } = &mut self.schedule {
            *left = *retries;
        }
    }

    /// Shortens the time until the request is given up. A liveness probe becomes an ordinary
    /// request.
    pub(crate) fn give_up_by(&mut self, at: Time) {
        if let Schedule::Probe { interval, .. } = self.schedule {
            let settings = Retransmission { initial: interval, ..Retransmission::default() };
            self.schedule = Schedule::Backoff { interval, settings, give_up_at: at };
        }
        if let Schedule::Backoff { give_up_at, .. } = &mut self.schedule {
            *give_up_at = at.min(*give_up_at);
            self.next_at = self.next_at.min(at);
        }
    }

    /// What is due at `now`; advances the schedule accordingly.
    pub(crate) fn due(&mut self, now: Time) -> Due {
        if now < self.next_at {
            return Due::Nothing;
        }
        match &mut self.schedule {
            Schedule::Backoff { give_up_at, .. } if now >= *give_up_at => Due::GiveUp,
            Schedule::Backoff { interval, settings, give_up_at } => {
                *interval = (*interval * settings.backoff_percent.max(100) / 100).min(settings.max_interval);
                *interval = (*interval).max(Duration::from_millis(1));
                self.next_at = (now + *interval).min(*give_up_at);
                Due::Retransmit
            }
            Schedule::Probe { left: 0, .. } => Due::PeerDead,
            Schedule::Probe { interval, left, .. } => {
                *left -= 1;
                self.next_at = now + *interval;
                Due::Retransmit
            }
        }
    }
}

/// The peer's requests.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// ID of the next new request.
    pub(crate) next_id: u32,
    /// The answer to the request before it, sent again when that request is (RFC 7296 §2.1).
    pub(crate) reply: Vec<Vec<u8>>,
}

/// Position of a request's message ID relative to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    New,
    /// Answered already: send the same answer again.
    Replay,
    Outside,
}

impl Receiver {
    pub(crate) fn place(&self, id: u32) -> Place {
        if id == self.next_id {
            Place::New
        } else if self.next_id.checked_sub(1) == Some(id) {
            Place::Replay
        } else {
            Place::Outside
        }
    }

    /// The request `next_id` is answered. `None` when the IDs are used up: they never wrap (RFC
    /// 7296 §2.2).
    pub(crate) fn answered(&mut self, reply: Vec<Vec<u8>>) -> Option<()> {
        self.reply = reply;
        self.next_id = self.next_id.checked_add(1)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Retransmission {
        Retransmission {
            initial: Duration::from_secs(1),
            backoff_percent: 200,
            max_interval: Duration::from_secs(4),
            give_up: Duration::from_secs(10),
        }
    }

    fn timeline(mut request: InFlight) -> Vec<(u64, Due)> {
        let mut events = Vec::new();
        loop {
            let at = request.next_at;
            let due = request.due(at);
            events.push((at.as_millis() / 1000, due));
            if matches!(due, Due::GiveUp | Due::PeerDead) {
                return events;
            }
        }
    }

    /// RFC 7296 §2.1
    #[test]
    fn intervals_grow_to_their_bound_until_the_request_is_given_up() {
        let request = InFlight::backoff(0, Exchange::Informational, vec![], Time::ZERO, settings());
        let again = Due::Retransmit;
        assert_eq!(timeline(request), [(1, again), (3, again), (7, again), (10, Due::GiveUp)]);
    }

    #[test]
    fn a_probe_repeats_at_a_constant_interval_and_counts() {
        let probe =
            InFlight::probe(0, Exchange::Informational, vec![], Time::ZERO, Duration::from_secs(2), 5);
        let times: Vec<u64> = timeline(probe).iter().map(|event| event.0).collect();
        assert_eq!(times, [2, 4, 6, 8, 10, 12], "five copies, and dead at six intervals");
    }

    #[test]
    fn hearing_the_peer_restarts_a_probe() {
        let mut probe =
            InFlight::probe(0, Exchange::Informational, vec![], Time::ZERO, Duration::from_secs(1), 1);
        assert_eq!(probe.due(Time::from_millis(1000)), Due::Retransmit);
        probe.peer_heard();
        assert_eq!(probe.due(Time::from_millis(2000)), Due::Retransmit);
        assert_eq!(probe.due(Time::from_millis(3000)), Due::PeerDead);
    }

    /// RFC 7296 §2.1, §2.2, §2.3
    #[test]
    fn the_window_takes_the_next_request_and_repeats_the_last_answer() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.place(0), Place::New);
        receiver.answered(vec![]);
        assert_eq!(
            [receiver.place(0), receiver.place(1), receiver.place(2)],
            [Place::Replay, Place::New, Place::Outside]
        );
        receiver.next_id = u32::MAX;
        assert!(receiver.answered(vec![]).is_none());
    }
}
