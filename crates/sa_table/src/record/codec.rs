//! SA records as words. Encoding rejects records that cannot be represented; decoding accepts any
//! content and returns either a record that is safe to use or nothing.

use core::net::IpAddr;

use thiserror::Error;
use zeroize::Zeroizing;

use super::algorithm::{from_number, number};
use super::{
    AddressRange, DfPolicy, DscpPolicy, Encapsulation, InboundSaRecord, KeyMaterial, Lifetime,
    MAX_KEY_OCTETS, MAX_SELECTOR_PAIRS, Mode, OutboundSaRecord, PeerEndpoint, PortRange, SelectorPair,
    Selectors, TrafficSelector,
};
use crate::address::{address_from, address_words, pair_at, put_address};
use crate::ids::{PolicyId, SlotWord};
use crate::layout::{SaRecord, SelectorWords};

/// A record in words; erased on drop, since it holds keys.
pub(crate) type RecordWords = Zeroizing<[u64; SaRecord::WORDS]>;

/// An inconsistent record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The two ends of an address range, or the outer addresses, are of different families.
    #[error("{0} mixes IPv4 and IPv6")]
    MixedFamilies(&'static str),
    /// A DSCP has six bits.
    #[error("DSCP {0} is larger than 63")]
    Dscp(u8),
}

const MODE_TRANSPORT: u64 = 1 << 16;
const UDP: u64 = 1 << 17;
const LOCAL_V6: u64 = 1 << 18;
const REMOTE_V6: u64 = 1 << 19;
const ESN: u64 = 1 << 20;
const DF_SHIFT: u32 = 21;
const DSCP_FIXED: u64 = 1 << 23;
const DSCP_SHIFT: u32 = 24;
const OUTBOUND: u64 = 1 << 32;
const INBOUND: u64 = 1 << 33;

/// Fields of both directions.
struct Common {
    spi: u32,
    policy: PolicyId,
    local: IpAddr,
    remote: IpAddr,
    mode: Mode,
    encapsulation: Encapsulation,
    esn: bool,
    peer: Option<SlotWord>,
    lifetime: Lifetime,
    selectors: Selectors,
    keys: KeyMaterial,
}

impl OutboundSaRecord {
    /// The initial peer endpoint of the record.
    pub(crate) fn endpoint(&self) -> PeerEndpoint {
        let port = match self.encapsulation {
            Encapsulation::None => 0,
            Encapsulation::Udp { remote_port, .. } => remote_port,
        };
        PeerEndpoint { address: self.destination, port }
    }

    pub(crate) fn encode(&self) -> Result<RecordWords, RecordError> {
        let common = Common {
            spi: self.spi,
            policy: self.policy,
            local: self.source,
            remote: self.destination,
            mode: self.mode,
            encapsulation: self.encapsulation,
            esn: self.esn,
            peer: self.peer,
            lifetime: self.lifetime,
            selectors: self.selectors,
            keys: self.keys.clone(),
        };
        let mut words = encode(&common)?;
        let df = match self.df {
            DfPolicy::Copy => 0,
            DfPolicy::Set => 1,
            DfPolicy::Clear => 2,
        };
        let dscp = match self.dscp {
            DscpPolicy::Copy => 0,
            DscpPolicy::Fixed(value) if value > 63 => return Err(RecordError::Dscp(value)),
            DscpPolicy::Fixed(value) => DSCP_FIXED | u64::from(value) << DSCP_SHIFT,
        };
        words[SaRecord::bits] |= OUTBOUND | df << DF_SHIFT | dscp;
        words[SaRecord::size] = u64::from(self.path_mtu);
        Ok(words)
    }

    pub(crate) fn decode(words: &RecordWords) -> Option<Self> {
        let common = decode(words, OUTBOUND)?;
        let bits = words[SaRecord::bits];
        Some(Self {
            spi: common.spi,
            source: common.local,
            destination: common.remote,
            mode: common.mode,
            encapsulation: common.encapsulation,
            keys: common.keys,
            esn: common.esn,
            selectors: common.selectors,
            path_mtu: u32::try_from(words[SaRecord::size]).ok()?,
            df: match bits >> DF_SHIFT & 3 {
                0 => DfPolicy::Copy,
                1 => DfPolicy::Set,
                2 => DfPolicy::Clear,
                _ => return None,
            },
            dscp: if bits & DSCP_FIXED == 0 {
                DscpPolicy::Copy
            } else {
                DscpPolicy::Fixed((bits >> DSCP_SHIFT & 63) as u8)
            },
            policy: common.policy,
            peer: common.peer,
            lifetime: common.lifetime,
        })
    }
}

impl InboundSaRecord {
    pub(crate) fn encode(&self) -> Result<RecordWords, RecordError> {
        let common = Common {
            spi: self.spi,
            policy: self.policy,
            local: self.local,
            remote: self.peer_address,
            mode: self.mode,
            encapsulation: self.encapsulation,
            esn: self.esn,
            peer: self.peer,
            lifetime: self.lifetime,
            selectors: self.selectors,
            keys: self.keys.clone(),
        };
        let mut words = encode(&common)?;
        words[SaRecord::bits] |= INBOUND;
        words[SaRecord::size] = u64::from(self.replay_window);
        Ok(words)
    }

    pub(crate) fn decode(words: &RecordWords) -> Option<Self> {
        let common = decode(words, INBOUND)?;
        Some(Self {
            spi: common.spi,
            local: common.local,
            peer_address: common.remote,
            mode: common.mode,
            encapsulation: common.encapsulation,
            keys: common.keys,
            esn: common.esn,
            replay_window: u32::try_from(words[SaRecord::size]).ok()?,
            selectors: common.selectors,
            policy: common.policy,
            peer: common.peer,
            lifetime: common.lifetime,
        })
    }
}

/// The identity of a record: SPI and destination address, without reading its keys.
pub(crate) fn identity(spi_policy: u64, bits: u64, local: [u64; 2], remote: [u64; 2]) -> (u32, IpAddr) {
    let address = if bits & OUTBOUND != 0 {
        address_from(remote, bits & REMOTE_V6 != 0)
    } else {
        address_from(local, bits & LOCAL_V6 != 0)
    };
    ((spi_policy >> 32) as u32, address)
}

fn encode(common: &Common) -> Result<RecordWords, RecordError> {
    if common.local.is_ipv6() != common.remote.is_ipv6() {
        return Err(RecordError::MixedFamilies("the outer header"));
    }
    let mut words = RecordWords::new([0; SaRecord::WORDS]);
    words[SaRecord::spi_policy] = u64::from(common.spi) << 32 | u64::from(common.policy.0);
    let mut bits = u64::from(number(common.keys.algorithm()));
    let flags = [
        (common.mode == Mode::Transport, MODE_TRANSPORT),
        (common.local.is_ipv6(), LOCAL_V6),
        (common.remote.is_ipv6(), REMOTE_V6),
        (common.esn, ESN),
    ];
    bits |= flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum::<u64>();
    if let Encapsulation::Udp { local_port, remote_port } = common.encapsulation {
        bits |= UDP;
        words[SaRecord::ports] = u64::from(local_port) << 16 | u64::from(remote_port);
    }
    words[SaRecord::bits] = bits;
    put_address(&mut words[..], SaRecord::local, common.local);
    put_address(&mut words[..], SaRecord::remote, common.remote);
    words[SaRecord::peer] = common.peer.map_or(0, SlotWord::raw);
    let lifetime = common.lifetime;
    words[SaRecord::lifetime..SaRecord::lifetime + 6].copy_from_slice(&[
        lifetime.soft_packets,
        lifetime.hard_packets,
        lifetime.soft_bytes,
        lifetime.hard_bytes,
        lifetime.soft_deadline_ms,
        lifetime.hard_deadline_ms,
    ]);
    for (word, octets) in words[SaRecord::keys..].iter_mut().zip(common.keys.key_field().as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*octets);
    }
    words[SaRecord::salt] = u64::from(u32::from_be_bytes(common.keys.salt_field()));
    words[SaRecord::selector_count] = common.selectors.iter().count() as u64;
    let fields = words[SaRecord::selectors..].chunks_exact_mut(SelectorWords::WORDS);
    for (field, pair) in fields.zip(common.selectors.iter()) {
        encode_selector(field, pair)?;
    }
    Ok(words)
}

fn decode(words: &RecordWords, direction: u64) -> Option<Common> {
    let bits = words[SaRecord::bits];
    if bits & (OUTBOUND | INBOUND) != direction || (bits & LOCAL_V6 != 0) != (bits & REMOTE_V6 != 0) {
        return None;
    }
    let algorithm = from_number(bits as u16)?;
    let mut key_field = Zeroizing::new([0; MAX_KEY_OCTETS]);
    for (octets, word) in key_field.as_chunks_mut::<8>().0.iter_mut().zip(&words[SaRecord::keys..]) {
        *octets = word.to_le_bytes();
    }
    let salt = (words[SaRecord::salt] as u32).to_be_bytes();
    let ports = words[SaRecord::ports];
    let lifetime = &words[SaRecord::lifetime..SaRecord::lifetime + 6];
    let count = usize::try_from(words[SaRecord::selector_count])
        .ok()
        .filter(|n| (1..=MAX_SELECTOR_PAIRS).contains(n))?;
    let mut pairs = words[SaRecord::selectors..].chunks_exact(SelectorWords::WORDS).map(decode_selector);
    let first = pairs.next()?;
    let mut list = [first; MAX_SELECTOR_PAIRS];
    for (entry, pair) in list[1..count].iter_mut().zip(pairs) {
        *entry = pair;
    }
    Some(Common {
        spi: (words[SaRecord::spi_policy] >> 32) as u32,
        policy: PolicyId(words[SaRecord::spi_policy] as u32),
        local: address_from(pair_at(&words[..], SaRecord::local), bits & LOCAL_V6 != 0),
        remote: address_from(pair_at(&words[..], SaRecord::remote), bits & REMOTE_V6 != 0),
        mode: if bits & MODE_TRANSPORT == 0 { Mode::Tunnel } else { Mode::Transport },
        encapsulation: if bits & UDP == 0 {
            Encapsulation::None
        } else {
            Encapsulation::Udp { local_port: (ports >> 16) as u16, remote_port: ports as u16 }
        },
        esn: bits & ESN != 0,
        peer: SlotWord::from_raw(words[SaRecord::peer]),
        lifetime: Lifetime {
            soft_packets: lifetime[0],
            hard_packets: lifetime[1],
            soft_bytes: lifetime[2],
            hard_bytes: lifetime[3],
            soft_deadline_ms: lifetime[4],
            hard_deadline_ms: lifetime[5],
        },
        selectors: Selectors::new(&list[..count])?,
        keys: KeyMaterial::from_fields(algorithm, &key_field, salt),
    })
}

const ANY_PROTOCOL: u64 = 1 << 8;
const SELECTOR_LOCAL_V6: u64 = 1 << 9;
const SELECTOR_REMOTE_V6: u64 = 1 << 10;

fn encode_selector(field: &mut [u64], pair: &SelectorPair) -> Result<(), RecordError> {
    let ends = [(&pair.local, SelectorWords::local), (&pair.remote, SelectorWords::remote)];
    for (end, index) in ends {
        let AddressRange { first, last } = end.addresses;
        if first.is_ipv6() != last.is_ipv6() {
            return Err(RecordError::MixedFamilies("the address range of a selector"));
        }
        put_address(field, index, first);
        put_address(field, index + 2, last);
    }
    field[SelectorWords::bits] = pair.protocol.map_or(ANY_PROTOCOL, u64::from)
        | if pair.local.addresses.first.is_ipv6() { SELECTOR_LOCAL_V6 } else { 0 }
        | if pair.remote.addresses.first.is_ipv6() { SELECTOR_REMOTE_V6 } else { 0 };
    field[SelectorWords::ports] =
        u64::from(pair.local.ports.to_bits()) << 32 | u64::from(pair.remote.ports.to_bits());
    Ok(())
}

fn decode_selector(field: &[u64]) -> SelectorPair {
    let bits = field[SelectorWords::bits];
    let ports = field[SelectorWords::ports];
    let end = |index, is_v6, ports| TrafficSelector {
        addresses: AddressRange {
            first: address_from(pair_at(field, index), is_v6),
            last: address_from(pair_at(field, index + 2), is_v6),
        },
        ports: PortRange::from_bits(ports),
    };
    SelectorPair {
        protocol: (bits & ANY_PROTOCOL == 0).then_some(bits as u8),
        local: end(SelectorWords::local, bits & SELECTOR_LOCAL_V6 != 0, (ports >> 32) as u32),
        remote: end(SelectorWords::remote, bits & SELECTOR_REMOTE_V6 != 0, ports as u32),
    }
}

/// Address and port in three words.
pub(crate) const ENDPOINT_WORDS: usize = 3;
const ENDPOINT_V6: u64 = 1 << 16;

impl PeerEndpoint {
    pub(crate) fn encode(self) -> [u64; ENDPOINT_WORDS] {
        let [high, low] = address_words(self.address);
        [high, low, u64::from(self.port) | if self.address.is_ipv6() { ENDPOINT_V6 } else { 0 }]
    }

    pub(crate) fn decode(words: [u64; ENDPOINT_WORDS]) -> Self {
        let [high, low, bits] = words;
        Self { address: address_from([high, low], bits & ENDPOINT_V6 != 0), port: bits as u16 }
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
