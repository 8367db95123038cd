//! Payloads to datagrams and back, under the keys of an IKE SA; whole or in fragments (RFC 7383).

use crate::keys::{IkeKeys, MessageKeys};
use crate::message::{Exchange, Flags, HEADER_LEN, Header, Payload, encode, payload_type, split};
use crate::provider::{CryptoError, Provider};
use crate::random::Random;
use crate::sk::{Fragment, Protection};
use crate::suite::IkeSuite;

/// Most fragments that a message may have; together with the datagram size this bounds the
/// reassembly buffer.
const MAX_FRAGMENTS: u16 = 64;
/// Most octets that a reassembled message may have. A peer that is not authenticated yet can make
/// us buffer this much.
const MAX_MESSAGE: usize = 32_768;

/// The state that seals and opens the messages of one IKE SA.
#[derive(Debug)]
pub(crate) struct Framer {
    /// We are the original initiator.
    pub(crate) initiator: bool,
    pub(crate) spi_i: u64,
    pub(crate) spi_r: u64,
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    /// The keys before the last IKE_INTERMEDIATE: a retransmission of its request is protected by
    /// them.
    pub(crate) previous: Option<IkeKeys>,
    /// Next IV of combined modes for our direction. Counts over requests, responses and fragments
    /// alike.
    pub(crate) next_iv: u64,
    /// Largest datagram, if both ends support fragmentation.
    pub(crate) fragment_size: Option<usize>,
    reassembly: Option<Reassembly>,
}

/// Fragments of one message that have come in.
#[derive(Debug)]
struct Reassembly {
    message_id: u32,
    response: bool,
    first_inner: u8,
    parts: Vec<Option<Vec<u8>>>,
}

/// An authenticated message.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Type of the first payload inside.
    pub(crate) first: u8,
    /// The payload chain.
    pub(crate) bytes: Vec<u8>,
}

/// The result of a datagram.
#[derive(Debug)]
pub(crate) enum Received {
    /// A complete message.
    Message(Opened),
    /// An authentic fragment of a message that is not complete; true for the first one (RFC 7383
    /// §2.6.1).
    Fragment(bool),
}

/// Why a datagram was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    Malformed,
    NotAuthentic,
    /// It has no encrypted payload at all.
    NotEncrypted,
}

impl Framer {
    pub(crate) fn new(initiator: bool, spi_i: u64, spi_r: u64, suite: IkeSuite, keys: IkeKeys) -> Self {
        Framer {
            initiator,
            spi_i,
            spi_r,
            suite,
            keys,
            previous: None,
            next_iv: 0,
            fragment_size: None,
            reassembly: None,
        }
    }

    /// The datagrams of one message. `reserved`: octets that the transport adds to each (the
    /// non-ESP marker).
    pub(crate) fn seal(
        &mut self,
        provider: &Provider,
        random: &mut dyn Random,
        (exchange, message_id, response): (Exchange, u32, bool),
        payloads: &[Payload],
        reserved: usize,
    ) -> Result<Vec<Vec<u8>>, CryptoError> {
        let (first, plain) = encode(payloads);
        let header = Header {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            next_payload: payload_type::NONE,
            major: 2,
            exchange,
            flags: Flags { initiator: self.initiator, response },
            message_id,
        };
        let keys = if self.initiator { &self.keys.initiator } else { &self.keys.responder };
        let protection = Protection { provider, suite: &self.suite, keys };
        let whole = HEADER_LEN + 4 + plain.len() + protection.overhead(plain.len()) + reserved;
        let room = self
            .fragment_size
            .filter(|&size| whole > size)
            .map(|size| size.saturating_sub(HEADER_LEN + 8 + protection.max_overhead() + reserved).max(64));
        let Some(room) = room else {
            return Ok(vec![protection.seal(&header, first, &plain, None, &mut self.next_iv, random)?]);
        };
        let total = u16::try_from(plain.len().div_ceil(room)).map_err(|_| CryptoError)?;
        let mut packets = Vec::with_capacity(total.into());
        for (number, part) in (1..=total).zip(plain.chunks(room)) {
            // RFC 7383 §2.5: the first fragment names the first payload, the others have 0.
            let first = if number == 1 { first } else { payload_type::NONE };
            let fragment = Some(Fragment { number, total });
            packets.push(protection.seal(&header, first, part, fragment, &mut self.next_iv, random)?);
        }
        Ok(packets)
    }

    /// New keys after an IKE_INTERMEDIATE. The IV counter continues.
    pub(crate) fn change_keys(&mut self, keys: IkeKeys) {
        self.previous = Some(std::mem::replace(&mut self.keys, keys));
        self.reassembly = None;
    }

    /// Checks and decrypts one datagram. Only authentic fragments are kept, so forged ones cannot
    /// fill the buffer.
    pub(crate) fn open(
        &mut self,
        provider: &Provider,
        header: &Header,
        datagram: &[u8],
    ) -> Result<Received, OpenError> {
        let body = datagram.get(HEADER_LEN..).ok_or(OpenError::Malformed)?;
        let payloads = split(header.next_payload, body).map_err(|_| OpenError::Malformed)?;
        let last = payloads.last().ok_or(OpenError::NotEncrypted)?;
        let protection = Protection { provider, suite: &self.suite, keys: self.peer_keys(&self.keys) };
        let offset = HEADER_LEN + last.offset;
        match last.kind {
            payload_type::SK => {
                let bytes = protection.open(datagram, offset, false).map_err(|_| OpenError::NotAuthentic)?;
                Ok(Received::Message(Opened { first: last.next, bytes }))
            }
            payload_type::SKF => {
                let fragment = last.body.first_chunk::<4>().ok_or(OpenError::Malformed)?;
                let [n1, n2, t1, t2] = *fragment;
                let fragment =
                    Fragment { number: u16::from_be_bytes([n1, n2]), total: u16::from_be_bytes([t1, t2]) };
                let bytes = protection.open(datagram, offset, true).map_err(|_| OpenError::NotAuthentic)?;
                self.reassemble(header, last.next, fragment, bytes)
            }
            _ => Err(OpenError::NotEncrypted),
        }
    }

    /// Is it an authentic message, or first fragment, under the keys before the last change?
    pub(crate) fn opens_under_previous(&self, provider: &Provider, header: &Header, datagram: &[u8]) -> bool {
        let Some(keys) = &self.previous else { return false };
        let protection = Protection { provider, suite: &self.suite, keys: self.peer_keys(keys) };
        let body = datagram.get(HEADER_LEN..).unwrap_or_default();
        let Some(last) = split(header.next_payload, body).ok().and_then(|payloads| payloads.last().copied())
        else {
            return false;
        };
        let fragment = last.kind == payload_type::SKF;
        let first = !fragment || last.body.first_chunk::<2>() == Some(&[0, 1]);
        first && protection.open(datagram, HEADER_LEN + last.offset, fragment).is_ok()
    }

    fn peer_keys<'k>(&self, keys: &'k IkeKeys) -> &'k MessageKeys {
        if self.initiator { &keys.responder } else { &keys.initiator }
    }

    /// Adds one authentic fragment (RFC 7383 §2.6).
    fn reassemble(
        &mut self,
        header: &Header,
        next: u8,
        fragment: Fragment,
        bytes: Vec<u8>,
    ) -> Result<Received, OpenError> {
        let Fragment { number, total } = fragment;
        if number == 0 || number > total || total > MAX_FRAGMENTS {
            return Err(OpenError::Malformed);
        }
        let fits = |r: &Reassembly| {
            // §2.6: a larger fragment total means that the peer fragmented the message again into
            // smaller pieces.
            (r.message_id, r.response) == (header.message_id, header.flags.response)
                && r.parts.len() >= total.into()
        };
        if !self.reassembly.as_ref().is_some_and(fits) {
            self.reassembly = None;
        }
        let buffer = self.reassembly.get_or_insert_with(|| Reassembly {
            message_id: header.message_id,
            response: header.flags.response,
            first_inner: payload_type::NONE,
            parts: vec![None; total.into()],
        });
        if buffer.parts.len() != usize::from(total) {
            return Ok(Received::Fragment(number == 1));
        }
        if number == 1 {
            buffer.first_inner = next;
        }
        let held: usize = buffer.parts.iter().flatten().map(Vec::len).sum();
        if held + bytes.len() > MAX_MESSAGE {
            self.reassembly = None;
            return Err(OpenError::Malformed);
        }
        if let Some(part) = buffer.parts.get_mut(usize::from(number) - 1) {
            part.get_or_insert(bytes);
        }
        if buffer.parts.iter().any(Option::is_none) {
            return Ok(Received::Fragment(number == 1));
        }
        let first = buffer.first_inner;
        let parts = self.reassembly.take().map(|buffer| buffer.parts).unwrap_or_default();
        let bytes = parts.into_iter().flatten().flatten().collect();
        Ok(Received::Message(Opened { first, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Encryption, Group, Prf};
    use crate::keys::KeyInputs;
    use crate::provider::DEFAULT;
    use crate::random::SystemRandom;
    use crate::secret::Secret;

    fn pair() -> (Framer, Framer) {
        let suite = IkeSuite {
            encryption: Encryption::AesGcm128,
            integrity: None,
            prf: Prf::HmacSha256,
            group: Group::Ecp256,
            additional: Default::default(),
        };
        let shared = Secret::from("shared");
        let inputs = KeyInputs {
            nonce_i: &[1; 32],
            nonce_r: &[2; 32],
            spi_i: 1,
            spi_r: 2,
            shared: &shared,
            additional: &[],
        };
        let keys = IkeKeys::initial(&DEFAULT, &suite, &inputs).unwrap();
        (Framer::new(true, 1, 2, suite, keys.clone()), Framer::new(false, 1, 2, suite, keys))
    }

    fn open(framer: &mut Framer, packet: &[u8]) -> Result<Received, OpenError> {
        framer.open(&DEFAULT, &Header::parse(packet).unwrap(), packet)
    }

    /// RFC 7383 §2.5, §2.6
    #[test]
    fn a_long_message_travels_in_fragments_in_any_order() {
        let (mut a, mut b) = pair();
        a.fragment_size = Some(200);
        let payloads = [Payload::VendorId(vec![7; 1000])];
        let packets =
            a.seal(&DEFAULT, &mut SystemRandom, (Exchange::Informational, 3, false), &payloads, 4).unwrap();
        assert!(packets.len() > 6);
        assert!(packets.iter().all(|packet| packet.len() + 4 <= 200));
        // RFC 7383 §2.6.1: the first fragment is distinguished, as only it triggers a
        // retransmission of the answer.
        let (_, mut other) = pair();
        let firsts =
            packets.iter().map(|packet| matches!(open(&mut other, packet), Ok(Received::Fragment(true))));
        assert_eq!(firsts.filter(|first| *first).count(), 1);
        let mut complete = Vec::new();
        for packet in packets.iter().rev().chain(&packets) {
            if let Received::Message(message) = open(&mut b, packet).unwrap() {
                complete.push(crate::message::parse(message.first, &message.bytes).unwrap());
            }
        }
        assert_eq!(complete, [payloads.to_vec(), payloads.to_vec()]);
    }

    /// RFC 7383 §2.6
    #[test]
    fn forged_fragments_do_not_enter_the_buffer() {
        let (mut a, mut b) = pair();
        a.fragment_size = Some(200);
        let payloads = [Payload::VendorId(vec![7; 300])];
        let packets =
            a.seal(&DEFAULT, &mut SystemRandom, (Exchange::Informational, 3, false), &payloads, 0).unwrap();
        let mut forged = packets[0].clone();
        forged[HEADER_LEN + 7] ^= 1;
        assert_eq!(open(&mut b, &forged).unwrap_err(), OpenError::NotAuthentic);
        assert!(b.reassembly.is_none());
        for packet in &packets[..packets.len() - 1] {
            assert!(matches!(open(&mut b, packet), Ok(Received::Fragment(_))));
        }
        assert!(matches!(open(&mut b, &packets[packets.len() - 1]), Ok(Received::Message(_))));
    }

    #[test]
    fn fragments_cannot_fill_the_memory() {
        let (mut a, mut b) = pair();
        a.fragment_size = Some(20_000);
        let payloads = [Payload::VendorId(vec![7; 60_000])];
        let packets =
            a.seal(&DEFAULT, &mut SystemRandom, (Exchange::Informational, 3, false), &payloads, 0).unwrap();
        assert!(matches!(open(&mut b, &packets[0]), Ok(Received::Fragment(true))));
        assert_eq!(open(&mut b, &packets[1]).unwrap_err(), OpenError::Malformed);
        assert!(b.reassembly.is_none());
    }

    #[test]
    fn what_one_end_seals_it_cannot_open_itself() {
        let (mut a, _) = pair();
        let packets =
            a.seal(&DEFAULT, &mut SystemRandom, (Exchange::Informational, 0, false), &[], 0).unwrap();
        assert_eq!(open(&mut a, &packets[0]).unwrap_err(), OpenError::NotAuthentic);
    }
}
