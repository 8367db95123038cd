//! Ports and rules as words.

use thiserror::Error;

use super::{Action, MAX_CRYPTO_ADDRESSES, MAX_DEVICE_NAME, MAX_IOS_NAME, PortRecord, Prefix, Rule};
use crate::address::{address_from, pair_at, put_address};
use crate::ids::PolicyId;
use crate::layout::{PortWords, RuleWords};
use crate::record::PortRange;

/// A port or a rule that cannot be encoded in an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// A name is too long for its field.
    #[error("the {what} has {given} octets, at most {most} fit")]
    NameTooLong {
        /// Which name.
        what: &'static str,
        /// Its octets.
        given: usize,
        /// The octets of the field.
        most: usize,
    },
    /// More local crypto addresses than a port record holds.
    #[error("{given} crypto addresses, at most {most} fit")]
    TooManyAddresses {
        /// How many were given.
        given: usize,
        /// How many fit.
        most: usize,
    },
    /// A port names a rule list that is not published with it.
    #[error("rule list {list} does not exist, there are {lists}")]
    RuleList {
        /// The list that is named.
        list: u32,
        /// How many lists there are.
        lists: usize,
    },
    /// A filter is bound to a list that is not published with it.
    #[error("access list {list} does not exist, there are {lists}")]
    FilterList {
        /// The list that is named.
        list: u32,
        /// How many lists there are.
        lists: usize,
    },
    /// Source and destination are of different families.
    #[error("source and destination mix IPv4 and IPv6")]
    MixedFamilies,
    /// A prefix is longer than an address.
    #[error("prefix length {0} is longer than the address")]
    PrefixLength(u8),
    /// A port range whose first port is above its last.
    #[error("the port range ends before it begins")]
    PortRange,
    /// A jump to the rule itself, backwards, or beyond the end of the list.
    #[error("jump to rule {0} does not lead forward inside the list")]
    Jump(u32),
    /// A policy that is not allocated.
    #[error("policy {0} does not exist")]
    Policy(PolicyId),
    /// The words have values that no version of this program writes.
    #[error("the stored words are no such entry")]
    Malformed,
}

const ANY_PROTOCOL: u64 = 1 << 24;
const RULE_V6: u64 = 1 << 25;
const KIND_SHIFT: u32 = 26;
const KIND_PROTECT: u64 = 1;
const KIND_JUMP: u64 = 2;
const KIND_DROP: u64 = 3;

/// Encodes the rule at `index` of a list of `rules` rules. `policies` is the number of policies.
pub(crate) fn encode_rule(
    words: &mut [u64],
    rule: &Rule,
    index: usize,
    rules: usize,
    policies: usize,
) -> Result<(), EntryError> {
    check_rule(rule, index, rules, policies)?;
    put_address(words, RuleWords::source, rule.source.address);
    put_address(words, RuleWords::destination, rule.destination.address);
    words[RuleWords::ports] =
        u64::from(rule.source_ports.to_bits()) << 32 | u64::from(rule.destination_ports.to_bits());
    let (kind, value) = match rule.action {
        Action::Protect(policy) => (KIND_PROTECT, policy.0),
        Action::Jump(target) => (KIND_JUMP, target),
        Action::Drop => (KIND_DROP, 0),
    };
    words[RuleWords::bits] = u64::from(rule.source.length)
        | u64::from(rule.destination.length) << 8
        | rule.protocol.map_or(ANY_PROTOCOL, |protocol| u64::from(protocol) << 16)
        | if rule.source.address.is_ipv6() { RULE_V6 } else { 0 }
        | kind << KIND_SHIFT
        | u64::from(value) << 32;
    Ok(())
}

/// Decodes and checks like [`encode_rule`], so that a reader can follow jumps without loop
/// detection.
pub(crate) fn decode_rule(
    words: &[u64],
    index: usize,
    rules: usize,
    policies: usize,
) -> Result<Rule, EntryError> {
    let (Some(&ports), Some(&bits)) = (words.get(RuleWords::ports), words.get(RuleWords::bits)) else {
        return Err(EntryError::Malformed);
    };
    let is_v6 = bits & RULE_V6 != 0;
    let value = (bits >> 32) as u32;
    let prefix =
        |at, length: u64| Prefix { address: address_from(pair_at(words, at), is_v6), length: length as u8 };
    let rule = Rule {
        source: prefix(RuleWords::source, bits),
        destination: prefix(RuleWords::destination, bits >> 8),
        protocol: (bits & ANY_PROTOCOL == 0).then_some((bits >> 16) as u8),
        source_ports: PortRange::from_bits((ports >> 32) as u32),
        destination_ports: PortRange::from_bits(ports as u32),
        action: match bits >> KIND_SHIFT & 3 {
            KIND_PROTECT => Action::Protect(PolicyId(value)),
            KIND_JUMP => Action::Jump(value),
            KIND_DROP => Action::Drop,
            _ => return Err(EntryError::Malformed),
        },
    };
    check_rule(&rule, index, rules, policies)?;
    Ok(rule)
}

fn check_rule(rule: &Rule, index: usize, rules: usize, policies: usize) -> Result<(), EntryError> {
    if rule.source.address.is_ipv6() != rule.destination.address.is_ipv6() {
        return Err(EntryError::MixedFamilies);
    }
    let longest = if rule.source.address.is_ipv6() { 128 } else { 32 };
    if let Some(prefix) = [rule.source, rule.destination].iter().find(|prefix| prefix.length > longest) {
        return Err(EntryError::PrefixLength(prefix.length));
    }
    if [rule.source_ports, rule.destination_ports].iter().any(|range| range.first > range.last) {
        return Err(EntryError::PortRange);
    }
    match rule.action {
        Action::Jump(target) if target as usize <= index || target as usize > rules => {
            Err(EntryError::Jump(target))
        }
        Action::Protect(policy) if policy.0 as usize >= policies => Err(EntryError::Policy(policy)),
        _ => Ok(()),
    }
}

const HAS_CRYPTO_MAP: u64 = 1;
const IS_SHUT: u64 = 2;
const FAIL_CLOSE: u64 = 4;
const ADDRESS_COUNT_SHIFT: u32 = 8;
const DEVICE_LENGTH_SHIFT: u32 = 16;
const IOS_LENGTH_SHIFT: u32 = 24;
const FAMILIES_SHIFT: u32 = 32;

/// Encodes a port; `lists` is the number of rule lists that are published with it.
pub(crate) fn encode_port(words: &mut [u64], port: &PortRecord, lists: usize) -> Result<(), EntryError> {
    let given = port.crypto_addresses.len();
    if given > MAX_CRYPTO_ADDRESSES {
        return Err(EntryError::TooManyAddresses { given, most: MAX_CRYPTO_ADDRESSES });
    }
    if let Some(list) = port.rule_list.filter(|list| *list as usize >= lists) {
        return Err(EntryError::RuleList { list, lists });
    }
    words[PortWords::id] = u64::from(port.ifindex) << 32 | u64::from(port.id);
    words[PortWords::mtu_rules] =
        u64::from(port.mtu) << 32 | port.rule_list.map_or(0, |list| u64::from(list) + 1);
    put_name(
        &mut words[PortWords::device..PortWords::ios_name],
        &port.device,
        "device name",
        MAX_DEVICE_NAME,
    )?;
    put_name(
        &mut words[PortWords::ios_name..PortWords::addresses],
        &port.ios_name,
        "IOS name",
        MAX_IOS_NAME,
    )?;
    let mut families = 0;
    for (number, address) in port.crypto_addresses.iter().enumerate() {
        put_address(words, PortWords::addresses + 2 * number, *address);
        families |= u64::from(address.is_ipv6()) << number;
    }
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    words[PortWords::bits] = flag(port.has_crypto_map, HAS_CRYPTO_MAP)
        | flag(port.is_shut, IS_SHUT)
        | flag(port.fail_close, FAIL_CLOSE)
        | (given as u64) << ADDRESS_COUNT_SHIFT
        | (port.device.len() as u64) << DEVICE_LENGTH_SHIFT
        | (port.ios_name.len() as u64) << IOS_LENGTH_SHIFT
        | families << FAMILIES_SHIFT;
    Ok(())
}

/// Decodes and checks like [`encode_port`].
pub(crate) fn decode_port(words: &[u64], lists: usize) -> Result<PortRecord, EntryError> {
    let words: &[u64; PortWords::WORDS] = words.try_into().map_err(|_| EntryError::Malformed)?;
    let bits = words[PortWords::bits];
    let count = (bits >> ADDRESS_COUNT_SHIFT & 0xff) as usize;
    if count > MAX_CRYPTO_ADDRESSES {
        return Err(EntryError::TooManyAddresses { given: count, most: MAX_CRYPTO_ADDRESSES });
    }
    let rule_list = (words[PortWords::mtu_rules] as u32).checked_sub(1);
    if let Some(list) = rule_list.filter(|list| *list as usize >= lists) {
        return Err(EntryError::RuleList { list, lists });
    }
    let address = |number: usize| {
        address_from(
            pair_at(words, PortWords::addresses + 2 * number),
            bits >> FAMILIES_SHIFT >> number & 1 == 1,
        )
    };
    Ok(PortRecord {
        id: words[PortWords::id] as u16,
        ifindex: (words[PortWords::id] >> 32) as u32,
        device: name(
            &words[PortWords::device..PortWords::ios_name],
            bits >> DEVICE_LENGTH_SHIFT,
            MAX_DEVICE_NAME,
        )?,
        ios_name: name(
            &words[PortWords::ios_name..PortWords::addresses],
            bits >> IOS_LENGTH_SHIFT,
            MAX_IOS_NAME,
        )?,
        mtu: (words[PortWords::mtu_rules] >> 32) as u32,
        has_crypto_map: bits & HAS_CRYPTO_MAP != 0,
        is_shut: bits & IS_SHUT != 0,
        fail_close: bits & FAIL_CLOSE != 0,
        crypto_addresses: (0..count).map(address).collect(),
        rule_list,
    })
}

pub(super) fn put_name(
    words: &mut [u64],
    name: &str,
    what: &'static str,
    most: usize,
) -> Result<(), EntryError> {
    if name.len() > most {
        return Err(EntryError::NameTooLong { what, given: name.len(), most });
    }
    for (word, chunk) in words.iter_mut().zip(name.as_bytes().chunks(8)) {
        let mut octets = [0; 8];
        octets[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_le_bytes(octets);
    }
    Ok(())
}

pub(super) fn name(words: &[u64], length: u64, most: usize) -> Result<String, EntryError> {
    let length = (length & 0xff) as usize;
    if length > most {
        return Err(EntryError::Malformed);
    }
    let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take(length).collect();
    String::from_utf8(octets).map_err(|_| EntryError::Malformed)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
pub(crate) mod tests;
