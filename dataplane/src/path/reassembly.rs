//! Reassembly of fragmented ESP packets (RFC 791 §3.2, RFC 8200 §4.5), which precedes ESP
//! processing (RFC 4303 §3.4.1).
//!
//! Fragments are not authenticated, so memory is bounded, per source and in total, and a packet
//! with signs of an attack is dropped as a whole: overlaps (RFC 5722), inconsistent lengths,
//! impossible ECN combinations. A packet put together wrongly fails its integrity check.

use crate::count::counter::Counter;
use crate::count::drop_reason::DropReason;
use crate::path::context::Context;
use crate::path::packet::{Origin, Packet};
use af_xdp::{Frame, MIN_HEADROOM};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use std::ops::Range;
use wire::{IpSummary, ipv4, ipv6, protocol};

/// The incomplete packets of one worker. Fragments show no ports, so a device puts all fragments of
/// a packet into one queue.
#[derive(Debug)]
pub struct Reassembly {
    pending: Vec<Pending>,
}

/// Largest number of incomplete packets.
const PACKETS: usize = 64;
/// The same for one source address.
const PACKETS_OF_SOURCE: usize = 16;
/// Largest number of fragments of one packet: enough for an ESP packet that fits a frame on any
/// path with the minimum MTU of IPv6.
const FRAGMENTS: usize = 16;
/// Timeout of an incomplete packet, in milliseconds. RFC 8200 allows 60 s; the 16-bit IPv4
/// identification wraps sooner (RFC 4963).
const PATIENCE_MS: u64 = 3_000;

#[derive(Debug)]
struct Pending {
    key: Key,
    since_ms: u64,
    origin: Origin,
    /// The payload, at its final offset.
    frame: Frame,
    have: ArrayVec<Range<usize>, FRAGMENTS>,
    /// Length of the whole payload, once the last fragment came.
    len: Option<usize>,
    /// The header of the first fragment.
    first: Option<IpSummary>,
    /// Which ECN marks the fragments carry, one bit each.
    marks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
}

/// Result of adding a fragment to its packet.
enum Fit {
    Incomplete,
    Complete(usize),
    Broken,
}

impl Default for Reassembly {
    fn default() -> Reassembly {
        Reassembly { pending: Vec::with_capacity(PACKETS) }
    }
}

impl Reassembly {
    /// Adds a fragment of ESP. Returns the packet if it was the last one missing.
    pub fn push(&mut self, fragment: Packet, context: &mut Context) -> Option<Packet> {
        self.expire(context);
        let key = Key {
            source: fragment.ip.source,
            destination: fragment.ip.destination,
            identification: fragment.ip.fragment.id,
        };
        let place = self.pending.iter().position(|pending| pending.key == key);
        let place = match place {
            Some(place) => place,
            None => match self.begin(key, fragment.origin, context) {
                Some(place) => place,
                None => {
                    context.drop(fragment.frame, DropReason::NoFrame);
                    return None;
                }
            },
        };
        let fit = self.pending.get_mut(place).map_or(Fit::Broken, |pending| pending.add(&fragment));
        match fit {
            Fit::Incomplete => {
                context.pool.put(fragment.frame);
                None
            }
            Fit::Broken => {
                let broken = self.pending.swap_remove(place);
                context.pool.put(broken.frame);
                context.drop(fragment.frame, DropReason::FragmentBroken);
                None
            }
            Fit::Complete(len) => {
                context.pool.put(fragment.frame);
                match self.pending.swap_remove(place).into_packet(len) {
                    Ok(packet) => {
                        context.counts.add(Counter::Reassembled, 1);
                        Some(packet)
                    }
                    Err(frame) => {
                        context.drop(frame, DropReason::FragmentBroken);
                        None
                    }
                }
            }
        }
    }

    /// Drops packets that waited too long. Called for each fragment and once a tick.
    pub fn expire(&mut self, context: &mut Context) {
        let now_ms = context.now_ms;
        while let Some(place) =
            self.pending.iter().position(|pending| now_ms.saturating_sub(pending.since_ms) >= PATIENCE_MS)
        {
            context.drop(self.pending.swap_remove(place).frame, DropReason::FragmentExpired);
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns every frame to the pool when the worker ends.
    pub fn clear(&mut self, context: &mut Context) {
        for pending in self.pending.drain(..) {
            context.pool.put(pending.frame);
        }
    }

    /// Begins a packet; if there is no room, the oldest one is dropped: of the same source if that
    /// has reached its limit.
    fn begin(&mut self, key: Key, origin: Origin, context: &mut Context) -> Option<usize> {
        let of_source = self.pending.iter().filter(|pending| pending.key.source == key.source).count();
        if of_source >= PACKETS_OF_SOURCE || self.pending.len() >= PACKETS {
            let oldest = (self.pending.iter().enumerate())
                .filter(|(_, pending)| of_source < PACKETS_OF_SOURCE || pending.key.source == key.source)
                .min_by_key(|(_, pending)| pending.since_ms)
                .map(|(place, _)| place)?;
            context.drop(self.pending.swap_remove(oldest).frame, DropReason::FragmentOverflow);
        }
        let frame = context.pool.take()?;
        let since_ms = context.now_ms;
        self.pending.push(Pending {
            key,
            since_ms,
            origin,
            frame,
            have: ArrayVec::new(),
            len: None,
            first: None,
            marks: 0,
        });
        Some(self.pending.len() - 1)
    }
}

impl Pending {
    fn add(&mut self, fragment: &Packet) -> Fit {
        let ip = &fragment.ip;
        let payload = fragment.frame.bytes().get(usize::from(ip.header_len)..).unwrap_or_default();
        let begin = usize::from(ip.fragment.offset);
        let range = begin..begin + payload.len();
        if payload.is_empty() {
            return Fit::Broken;
        }
        // An exact duplicate of a fragment was made by the network and is ignored (RFC 8200 §4.5).
        if self.have.contains(&range) {
            return Fit::Incomplete;
        }
        if self.have.iter().any(|have| have.start < range.end && range.start < have.end) {
            return Fit::Broken;
        }
        if !ip.fragment.more && self.len.replace(range.end).is_some_and(|len| len != range.end) {
            return Fit::Broken;
        }
        let start = self.payload_start();
        let Some(place) = self.frame.buffer_mut().get_mut(start + range.start..start + range.end) else {
            return Fit::Broken;
        };
        place.copy_from_slice(payload);
        if begin == 0 {
            self.first = Some(*ip);
        }
        self.marks |= 1 << ip.ecn();
        if self.have.try_push(range).is_err() {
            return Fit::Broken;
        }
        let Some(len) = self.len else { return Fit::Incomplete };
        let covered: usize = self.have.iter().map(Range::len).sum();
        match self.have.iter().any(|have| have.end > len) {
            true => Fit::Broken,
            false if covered == len => Fit::Complete(len),
            false => Fit::Incomplete,
        }
    }

    fn header_len(&self) -> usize {
        if self.key.source.is_ipv4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    fn payload_start(&self) -> usize {
        MIN_HEADROOM + self.header_len()
    }

    /// The packet, with a header made from the first fragment's: options and extension headers are
    /// not needed for ESP.
    fn into_packet(mut self, len: usize) -> Result<Packet, Frame> {
        let header_len = self.header_len();
        let (Some(first), Some(ecn)) = (self.first, merged_mark(self.marks)) else { return Err(self.frame) };
        let traffic_class = first.dscp() << 2 | ecn;
        let emitted = self.frame.buffer_mut().get_mut(MIN_HEADROOM..).map(|buffer| {
            match (self.key.source, self.key.destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Header {
                    tos: traffic_class,
                    ttl: first.ttl,
                    ..ipv4::Header::new(source, destination, protocol::ESP, len)
                }
                .emit(buffer),
                (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Header {
                    traffic_class,
                    hop_limit: first.ttl,
                    ..ipv6::Header::new(source, destination, protocol::ESP, len)
                }
                .emit(buffer),
                _ => Err(wire::WireError::Malformed),
            }
        });
        let placed =
            matches!(emitted, Some(Ok(_))) && self.frame.set_bounds(MIN_HEADROOM, header_len + len).is_ok();
        if placed { Packet::from_ip(self.frame, self.origin) } else { Err(self.frame) }
    }
}

/// The ECN mark of a packet whose fragments carry these marks (RFC 3168 §5.3); `None` for a mix
/// that must be dropped.
fn merged_mark(marks: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const CE: u8 = 3;
    let has = |mark: u8| marks & (1 << mark) != 0;
    match (has(CE), has(NOT_ECT)) {
        (true, true) => None,
        (true, false) => Some(CE),
        (false, true) => Some(NOT_ECT),
        // The two ECT codes mean the same.
        (false, false) => Some(if has(2) { 2 } else { 1 }),
    }
}

#[cfg(test)]
mod tests;
