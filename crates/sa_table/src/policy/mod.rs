//! Ports and rules: the blobs of the policy arenas.

mod port;
mod rule;

pub use port::{MAX_CRYPTO_ADDRESSES, MAX_DEVICE_NAME, MAX_IOS_NAME, PortRecord};
pub use rule::{Action, Prefix, Rule};
