//! State that both processes must agree on before a device may carry packets or a peer may be
//! answered: the policy that the guard and all workers use, and the devices that the guard covers.

use std::collections::BTreeSet;

use crate::ids::PolicyVersion;
use crate::routes::scramble;

/// The state in force, as reported by the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The guard and every worker use this policy version or a newer one.
    pub version: PolicyVersion,
    /// [`fingerprint`] of the interface indices that the guard covers for the interfaces of the
    /// policy.
    pub devices: u64,
}

/// A hash of a set of interface indices: 0 for the empty set, independent of the order.
pub fn fingerprint(devices: impl IntoIterator<Item = u32>) -> u64 {
    let distinct: BTreeSet<u32> = devices.into_iter().filter(|ifindex| *ifindex != 0).collect();
    distinct.into_iter().map(|ifindex| scramble(u64::from(ifindex))).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_sets_apart_and_not_orders() {
        assert_eq!(fingerprint([]), 0);
        assert_eq!(fingerprint([3, 7, 0]), fingerprint([7, 3, 7]));
        assert_ne!(fingerprint([3, 7]), fingerprint([3]));
    }
}
