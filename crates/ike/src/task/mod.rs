//! The exchanges of an IKE SA: one file for each kind of exchange, with both roles.
//!
//! A [`Task`] is an exchange that we begin: [`Task::start`] builds its request, [`Task::finish`]
//! takes the answer, [`Task::cancel`] drops it. A request of the peer is answered immediately by
//! the `answer` function of the same file.

pub(crate) mod auth;
pub(crate) mod child;
pub(crate) mod create_child;
pub(crate) mod delete;
pub(crate) mod followup;
pub(crate) mod informational;
pub(crate) mod init;
pub(crate) mod intermediate;
pub(crate) mod mobike;
pub(crate) mod nat;
pub(crate) mod parts;
pub(crate) mod ppk;
pub(crate) mod proof;
pub(crate) mod redirect;
pub(crate) mod rekey_ike;
pub(crate) mod signature;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::action::{Action, ChildId, IkeId, LogLevel, LogRecord, Transmit};
use crate::config::{ChildTag, ConnectionId, EndpointConfig, Retransmission, SpiSource};
use crate::endpoint::{Connections, Counters, Effect, Ids};
use crate::message::{Exchange, ParseError, Payload};
use crate::provider::Provider;
use crate::random::{Random, draw_u64};
use crate::sa::{IkeSa, RequestSchedule};
use crate::time::Time;

/// Octets of our nonces: at least half the key size of the largest PRF (RFC 7296 §2.10).
pub(crate) const NONCE_LEN: usize = 32;

/// What an exchange may use besides its own IKE SA.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Time,
    /// The time since 1970, if the caller set it: for certificates only.
    pub(crate) unix_time: Option<Duration>,
    pub(crate) config: &'a EndpointConfig,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) spis: &'a mut dyn SpiSource,
    pub(crate) connections: &'a Connections,
    /// IKE SPIs of ours that are taken.
    pub(crate) taken: &'a HashMap<u64, IkeId>,
    /// The other established IKE SAs of each connection that has any.
    pub(crate) established: &'a BTreeMap<ConnectionId, Ids>,
    pub(crate) names: &'a mut Names,
    pub(crate) transmits: &'a mut VecDeque<Transmit>,
    pub(crate) actions: &'a mut VecDeque<Action>,
    pub(crate) counters: &'a mut Counters,
    /// Effects on other IKE SAs.
    pub(crate) effects: &'a mut Vec<Effect>,
}

/// The allocator of [`IkeId`] and [`ChildId`].
#[derive(Debug, Default)]
pub(crate) struct Names {
    ike: u64,
    child: u64,
}

impl Names {
    pub(crate) fn ike(&mut self) -> IkeId {
        self.ike += 1;
        IkeId(self.ike)
    }

    /// Marks IDs up to these as used.
    pub(crate) fn take(&mut self, ike: IkeId, child: Option<ChildId>) {
        self.ike = self.ike.max(ike.0);
        self.child = self.child.max(child.map_or(0, |child| child.0));
    }

    pub(crate) fn child(&mut self) -> ChildId {
        self.child += 1;
        ChildId(self.child)
    }
}

impl Ctx<'_> {
    pub(crate) fn provider(&self) -> &'static Provider {
        self.config.provider
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn log(&mut self, level: LogLevel, ike: Option<IkeId>, peer: SocketAddr, text: String) {
        self.act(Action::Log(LogRecord { level, ike, peer, text }));
    }

    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; NONCE_LEN];
        self.random.fill(&mut nonce);
        nonce
    }

    /// An IKE SPI of ours: random, not zero, not taken.
    pub(crate) fn ike_spi(&mut self) -> u64 {
        loop {
            let spi = draw_u64(self.random);
            if spi != 0 && !self.taken.contains_key(&spi) {
                return spi;
            }
        }
    }

    /// Hands one IKE datagram to the caller, with the non-ESP marker on the NAT-T port (RFC 3948
    /// §2.2).
    pub(crate) fn transmit(&mut self, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        let marker: &[u8] = if from.port() == self.config.natt_port { &[0; 4] } else { &[] };
        self.transmits.push_back(Transmit { from, to, bytes: [marker, packet].concat() });
    }
}

/// A task that waits for its turn.
pub(crate) struct Queued {
    pub(crate) task: Task,
    /// Not started before this time: the pause after TEMPORARY_FAILURE.
    pub(crate) not_before: Time,
}

/// An exchange that we begin on an established IKE SA.
pub(crate) enum Task {
    /// A new Child SA, or one in place of another.
    CreateChild(Box<create_child::CreateChild>),
    /// A new IKE SA in place of this one.
    RekeyIke(Box<rekey_ike::RekeyIke>),
    /// Delete children at the peer.
    DeleteChild { children: Vec<ChildId> },
    /// Delete the inbound SA of this SPI, which was never reported to the caller, at the peer.
    DeleteSpi { spi: u32 },
    /// Delete the IKE SA at the peer.
    DeleteIke,
    /// Liveness check.
    Liveness { interval: Duration, retries: u32 },
    /// Return routability check at the peer's new address (RFC 4555 §3.7).
    Routability { cookie: Vec<u8>, remote: SocketAddr },
    /// Report a fatal error to the peer, then close.
    Complain { notify: u16 },
}

/// A request that ends the IKE SA: it gets a shorter retransmission time.
fn last_words(sa: &IkeSa, ctx: &Ctx<'_>, payloads: Vec<Payload>) -> Request {
    let settings = Retransmission { give_up: ctx.config.delete_give_up, ..sa.connection.established };
    Request { exchange: Exchange::Informational, payloads, schedule: RequestSchedule::Backoff(settings) }
}

/// A request to be sent.
pub(crate) struct Request {
    pub(crate) exchange: Exchange,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) schedule: RequestSchedule,
}

impl Task {
    /// Builds the request; `None` if it is no longer needed.
    pub(crate) fn start(&mut self, sa: &mut IkeSa, ctx: &mut Ctx<'_>) -> Option<Request> {
        let backoff = RequestSchedule::Backoff(sa.connection.established);
        let request = |exchange, payloads| Some(Request { exchange, payloads, schedule: backoff });
        match self {
            Task::CreateChild(task) => request(task.exchange(), task.request(sa, ctx)?),
            Task::RekeyIke(task) => request(task.exchange(), task.request(sa, ctx)?),
            Task::DeleteChild { children } => {
                request(Exchange::Informational, delete::children_request(sa, children)?)
            }
            Task::DeleteSpi { spi } => request(Exchange::Informational, delete::spi_request(*spi)),
            Task::DeleteIke => Some(last_words(sa, ctx, delete::ike_request())),
            Task::Liveness { interval, retries } => Some(Request {
                exchange: Exchange::Informational,
                payloads: vec![],
                schedule: RequestSchedule::Probe { interval: *interval, retries: *retries },
            }),
            Task::Routability { cookie, .. } => request(Exchange::Informational, mobike::request(cookie)),
            Task::Complain { notify } => Some(last_words(sa, ctx, vec![Payload::notify(*notify, vec![])])),
        }
    }

    /// Takes the answer.
    pub(crate) fn finish(self, sa: &mut IkeSa, ctx: &mut Ctx<'_>, answer: Result<Vec<Payload>, ParseError>) {
        match self {
            Task::CreateChild(task) => task.finish(sa, ctx, answer),
            Task::RekeyIke(task) => task.finish(sa, ctx, answer),
            Task::DeleteChild { children } => delete::children_answered(sa, ctx, &children),
            Task::DeleteSpi { spi } => ctx.spis.release(spi),
            Task::DeleteIke | Task::Complain { .. } => delete::ike_answered(sa),
            Task::Routability { cookie, remote } => mobike::answered(sa, ctx, &cookie, remote, answer),
            // An answer of any content shows that the peer is there.
            Task::Liveness { .. } => {}
        }
    }

    /// Drops the task and releases what it holds. Returns the child that will not be created:
    /// (policy, child to be replaced).
    pub(crate) fn cancel(self, ctx: &mut Ctx<'_>) -> Option<(ChildTag, Option<ChildId>)> {
        match self {
            Task::CreateChild(task) => Some(task.cancel(ctx)),
            Task::DeleteSpi { spi } => {
                ctx.spis.release(spi);
                None
            }
            _ => None,
        }
    }

    /// Its CREATE_CHILD_SA is answered, and further exchanges follow.
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            Task::CreateChild(task) => task.exchange() == Exchange::IkeFollowupKe,
            Task::RekeyIke(task) => task.exchange() == Exchange::IkeFollowupKe,
            _ => false,
        }
    }

    /// Still sent on an IKE SA that is closing.
    pub(crate) fn is_last_word(&self) -> bool {
        matches!(self, Task::DeleteIke | Task::Complain { .. })
    }

    /// The child that it would replace.
    pub(crate) fn rekeys(&self) -> Option<ChildId> {
        match self {
            Task::CreateChild(task) => task.rekeying(),
            _ => None,
        }
    }
}
