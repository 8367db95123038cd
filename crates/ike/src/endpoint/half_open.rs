//! IKE_SA_INIT as the responder: cookies, limits, and the answer (RFC 7296 §1.2, §2.6).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::action::{IkeId, LogLevel};
use crate::algorithm::{Group, Prf};
use crate::config::Connection;
use crate::message::{Exchange, Flags, HEADER_LEN, Header, Payload, encode, notify_type, parse};
use crate::negotiate::{choose_ike, ike_answer};
use crate::random::Random;
use crate::sa::{IkeSa, Phase};
use crate::secret::Secret;
use crate::task::auth::{HalfOpen, Init};
use crate::task::parts::Parts;
use crate::task::{init, nat, proof, signature};
use crate::time::Time;

use super::Endpoint;
use super::rate::Rates;

/// How long a cookie secret makes new cookies; its cookies are accepted for the same time again
/// (RFC 7296 §2.6).
const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(120);
const COOKIE_LEN: usize = 33;

/// The half-open IKE SAs by source, and the cookie secrets.
pub(super) struct HalfOpens {
    /// By the peer's endpoint and SPI and the request itself: a retransmitted request gets the same
    /// answer.
    requests: HashMap<(SocketAddr, u64, [u8; 20]), IkeId>,
    per_source: HashMap<IpAddr, usize>,
    rates: Rates,
    secrets: [Secret; 2],
    generation: u8,
    renewed: Time,
}

impl HalfOpens {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        HalfOpens {
            requests: HashMap::new(),
            per_source: HashMap::new(),
            rates: Rates::new(random),
            secrets: [fresh_secret(random), fresh_secret(random)],
            generation: 0,
            renewed: Time::ZERO,
        }
    }

    pub(super) fn enter(&mut self, sa: &IkeSa) {
        if let Some(key) = key(sa) {
            self.requests.insert(key, sa.id);
            *self.per_source.entry(source(key.0.ip())).or_default() += 1;
        }
    }

    pub(super) fn leave(&mut self, sa: &IkeSa) {
        if let Some(key) = key(sa).filter(|key| self.requests.remove(key).is_some()) {
            let source = source(key.0.ip());
            if let Some(count) = self.per_source.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.per_source.remove(&source);
                }
            }
        }
    }

    /// (half-open IKE SAs, their sources).
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.requests.len(), self.per_source.len())
    }

    fn renew(&mut self, now: Time, random: &mut dyn Random) {
        if now.since(self.renewed) >= COOKIE_SECRET_LIFE {
            self.renewed = now;
            self.generation = self.generation.wrapping_add(1);
            self.secrets.swap(0, 1);
            self.secrets[0] = fresh_secret(random);
        }
    }
}

impl Endpoint {
    /// Handles a message without a responder SPI: only IKE_SA_INIT requests are valid.
    pub(super) fn answer_init(
        &mut self,
        now: Time,
        path: (SocketAddr, SocketAddr),
        header: &Header,
        message: &[u8],
    ) {
        let is_request = header.exchange == Exchange::IkeSaInit
            && header.message_id == 0
            && header.flags == Flags { initiator: true, response: false };
        if !is_request {
            self.counters.out_of_window += 1;
            return;
        }
        let (from, to) = path;
        let key = (from, header.spi_i, (self.config.provider.sha1)(&[message]));
        if let Some(&id) = self.half_open.requests.get(&key) {
            return self.repeat_answer(id, path);
        }
        let body = message.get(HEADER_LEN..).unwrap_or_default();
        let Some(parts) = parse(header.next_payload, body).ok().and_then(Parts::of) else {
            self.counters.malformed += 1;
            return;
        };
        let connections: Vec<Arc<Connection>> =
            self.connections.between(to.ip(), from.ip()).cloned().collect();
        if connections.is_empty() {
            self.counters.no_connection += 1;
            return;
        }
        self.half_open.renew(now, &mut *self.random);
        if !self.admitted(now, path, header, &parts) {
            return;
        }
        self.begin_half_open(now, path, header, message, &parts, &connections);
    }

    /// RFC 7296 §2.1: the same request gets the same answer.
    fn repeat_answer(&mut self, id: IkeId, (from, to): (SocketAddr, SocketAddr)) {
        self.counters.replayed_requests += 1;
        if let Some(Phase::HalfOpen(state)) = self.sas.get(&id).map(|sa| &sa.phase) {
            let response = state.init.response.clone();
            self.send_plain((to, from), &response);
        }
    }

    /// Limits and cookie.
    fn admitted(
        &mut self,
        now: Time,
        path: (SocketAddr, SocketAddr),
        header: &Header,
        parts: &Parts,
    ) -> bool {
        let (from, _) = path;
        // A request without these payloads is shorter than the COOKIE answer, which would amplify
        // it.
        let (Some(nonce), Some(_), Some(_)) = (&parts.nonce, &parts.sa, &parts.ke) else {
            self.counters.malformed += 1;
            return false;
        };
        let half_open = self.half_open.requests.len();
        let often = self.half_open.rates.exceeds(now, source(from.ip()), self.config.init_rate_per_source);
        if self.config.cookie_threshold.is_some_and(|threshold| half_open >= threshold || often) {
            let presented = parts.notify(notify_type::COOKIE).map(|notify| notify.data.as_slice());
            let valid = presented.is_some_and(|presented| {
                let age =
                    self.half_open.generation.wrapping_sub(presented.first().copied().unwrap_or_default());
                age < 2
                    && bool::from(self.cookie(age.into(), from.ip(), header.spi_i, nonce).ct_eq(presented))
            });
            if !valid {
                let cookie = self.cookie(0, from.ip(), header.spi_i, nonce);
                self.counters.cookies_sent += 1;
                self.refuse(path, header, Payload::notify(notify_type::COOKIE, cookie.to_vec()));
                return false;
            }
        }
        let of_source = self.half_open.per_source.get(&source(from.ip())).copied().unwrap_or_default();
        let full = half_open >= self.config.half_open_limit
            || of_source >= self.config.half_open_per_source
            || self.sas.len() >= self.config.max_ike_sas;
        if full {
            self.counters.half_open_refused += 1;
        }
        !full
    }

    /// Generation | HMAC-SHA-256(secret, Ni | IPi | SPIi): bound to everything that RFC 7296 §2.6
    /// asks for, without state.
    fn cookie(&self, age: usize, from: IpAddr, spi_i: u64, nonce: &[u8]) -> [u8; COOKIE_LEN] {
        let mut cookie = [0; COOKIE_LEN];
        cookie[0] = self.half_open.generation.wrapping_sub(age as u8);
        let address = match from {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        if let (Some(mac), Some(secret)) =
            (self.config.provider.prf(Prf::HmacSha256), self.half_open.secrets.get(age))
        {
            mac.mac(secret.expose(), &[nonce, &address, &spi_i.to_be_bytes()], &mut cookie[1..]);
        }
        cookie
    }

    fn begin_half_open(
        &mut self,
        now: Time,
        (from, to): (SocketAddr, SocketAddr),
        header: &Header,
        message: &[u8],
        parts: &Parts,
        connections: &[Arc<Connection>],
    ) {
        let (Some(offered), Some((number, public)), Some(nonce_i)) = (&parts.sa, &parts.ke, &parts.nonce)
        else {
            self.counters.malformed += 1;
            return;
        };
        let provider = self.config.provider;
        let group = Group::from_number(*number);
        let intermediate = parts.has(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED);
        // RFC 8784 §3: a connection that requires a PPK does not match an initiator without one.
        let has_ppk = parts.has(notify_type::USE_PPK);
        let fits = |connection: &&Arc<Connection>| {
            has_ppk || connection.ppk.as_ref().is_none_or(|ppk| !ppk.required)
        };
        let ppk = has_ppk && connections.iter().any(|connection| connection.ppk.is_some());
        let choice = connections.iter().filter(fits).find_map(|connection| {
            let (suite, proposal, _) =
                choose_ike(&connection.ike_proposals, provider, offered, group, intermediate)?;
            Some((connection.clone(), suite, proposal))
        });
        let Some((connection, suite, proposal)) = choice else {
            let text = "refused an initiation: no proposal chosen".to_owned();
            self.ctx(now, &mut Vec::new()).log(LogLevel::Warning, None, from, text);
            return self.refuse((from, to), header, Payload::notify(notify_type::NO_PROPOSAL_CHOSEN, vec![]));
        };
        if suite.group.number() != *number {
            // RFC 7296 §1.2: answer with the wanted group and keep no state.
            let wanted = suite.group.number().to_be_bytes().to_vec();
            return self.refuse((from, to), header, Payload::notify(notify_type::INVALID_KE_PAYLOAD, wanted));
        }
        let Some(Ok((private, own_public))) =
            provider.group(suite.group).map(|group| group.generate(&mut *self.random))
        else {
            return;
        };

        let mut effects = Vec::new();
        let mut ctx = self.ctx(now, &mut effects);
        let (id, spi_r, nonce_r) = (ctx.names.ike(), ctx.ike_spi(), ctx.nonce());
        let spis = (header.spi_i, spi_r);
        let fragment_size =
            ctx.config.fragment_size.filter(|_| parts.has(notify_type::IKEV2_FRAGMENTATION_SUPPORTED));
        let nat = nat::detect(provider, (header.spi_i, 0), (from, to), parts);
        let mut payloads = vec![
            Payload::Sa(vec![ike_answer(&suite, proposal, &[])]),
            Payload::KeyExchange(suite.group.number(), own_public),
            Payload::Nonce(nonce_r.clone()),
        ];
        if nat.is_some() {
            let pretend = connection.force_udp_encapsulation;
            payloads.extend(nat::payloads(provider, ctx.random, spis, (to, from), pretend));
        }
        if ppk {
            payloads.push(Payload::notify(notify_type::USE_PPK, vec![]));
        }
        if !suite.additional.is_empty() {
            payloads.push(Payload::notify(notify_type::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![]));
        }
        if fragment_size.is_some() {
            payloads.push(Payload::notify(notify_type::IKEV2_FRAGMENTATION_SUPPORTED, vec![]));
        }
        payloads.push(Payload::notify(notify_type::CHILDLESS_IKEV2_SUPPORTED, vec![]));
        // RFC 7427 §4: to an initiator that announced its own hashes.
        let signatures = connections.iter().any(|connection| connection.authentication.uses_signatures());
        if signatures && parts.has(notify_type::SIGNATURE_HASH_ALGORITHMS) {
            payloads.push(Payload::notify(notify_type::SIGNATURE_HASH_ALGORITHMS, signature::announcement()));
        }
        payloads.extend(proof::certificate_request(connections.iter().map(|connection| &**connection)));
        let response = init::message(spis, (false, true), &payloads);

        let low_nonce = nonce_i.clone().min(nonce_r.clone());
        let init = Init {
            request: message.to_vec(),
            response: response.clone(),
            nonce_i: nonce_i.clone(),
            nonce_r,
            childless_supported: true,
            int_auth: vec![],
            ppk,
            signature_hashes: parts.signature_hashes(),
            authorities: None,
        };
        let state = HalfOpen {
            init,
            origin: from,
            digest: (provider.sha1)(&[message]),
            suite,
            private,
            peer_public: public.clone(),
            progress: Default::default(),
            next_keys: None,
            fragment_size,
            expires_at: now + ctx.config.half_open_lifetime,
        };
        let forced = connection.force_udp_encapsulation && nat.is_some();
        let mut sa =
            IkeSa::new(id, connection, false, spi_r, (to, from), Phase::HalfOpen(Box::new(state)), now);
        sa.remote_spi = header.spi_i;
        sa.nat = nat.unwrap_or_default();
        sa.nat.local |= forced;
        sa.low_nonce = low_nonce;
        sa.receiver.next_id = 1;
        sa.log(&mut ctx, LogLevel::Debug, "answered IKE_SA_INIT");
        self.send_plain((to, from), &response);
        self.put_back(Box::new(sa));
    }

    /// RFC 7296 §2.5: a request of a later major version is answered with our version.
    pub(super) fn answer_version(&mut self, now: Time, header: &Header, path: (SocketAddr, SocketAddr)) {
        self.counters.malformed += 1;
        let (from, _) = path;
        let often = self.half_open.rates.exceeds(now, source(from.ip()), self.config.init_rate_per_source);
        if header.major > 2 && !header.flags.response && !often {
            let payload = Payload::notify(notify_type::INVALID_MAJOR_VERSION, vec![]);
            self.send_notify(path, header, header.message_id, payload);
        }
    }

    /// Answers IKE_SA_INIT by one notify, without keeping state. The answer is shorter than the
    /// request, so there is no amplification.
    fn refuse(&mut self, path: (SocketAddr, SocketAddr), header: &Header, payload: Payload) {
        self.send_notify(path, header, 0, payload);
    }

    fn send_notify(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        header: &Header,
        id: u32,
        payload: Payload,
    ) {
        let (first, body) = encode(&[payload]);
        let answer = Header {
            next_payload: first,
            major: 2,
            flags: Flags { initiator: !header.flags.initiator, response: true },
            message_id: id,
            ..*header
        };
        let bytes = [&answer.encode(HEADER_LEN + body.len())[..], &body].concat();
        self.send_plain((to, from), &bytes);
    }

    fn send_plain(&mut self, (from, to): (SocketAddr, SocketAddr), packet: &[u8]) {
        self.ctx(Time::ZERO, &mut Vec::new()).transmit(from, to, packet);
    }
}

/// Where a half-open IKE SA is found by its request; `None` for any other.
fn key(sa: &IkeSa) -> Option<(SocketAddr, u64, [u8; 20])> {
    let Phase::HalfOpen(state) = &sa.phase else { return None };
    Some((state.origin, sa.remote_spi, state.digest))
}

/// What counts as one source: an IPv4 address, or an IPv6 /64.
fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
    }
}

fn fresh_secret(random: &mut dyn Random) -> Secret {
    let mut secret = Secret::zeroed(32);
    random.fill(secret.expose_mut());
    secret
}
