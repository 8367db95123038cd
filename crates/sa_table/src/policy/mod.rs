//! Ports, rules and filters: the blobs of the policy arenas.

mod arena;
mod codec;
mod filter;
mod filter_codec;
mod port;
mod rule;

pub(crate) use arena::{EncodedLists, decode_arena, encode_arena, encode_lists};
pub use arena::{PolicyError, PolicySnapshot, RuleList};
pub use codec::EntryError;
pub use filter::{
    FilterBinding, FilterList, FilterLog, FilterPoint, FilterRule, Filters, IcmpCondition, MAX_FILTER_NAME,
    Masked, PortCondition,
};
pub(crate) use filter_codec::encode_filters;
pub use ipsec_types::Prefix;
pub use port::{MAX_CRYPTO_ADDRESSES, MAX_DEVICE_NAME, MAX_IOS_NAME, PortRecord};
pub use rule::{Action, Rule, union};
