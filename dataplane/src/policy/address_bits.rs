//! An IP address as an unsigned number, for tables of prefixes.

use std::fmt::Debug;

/// `u32` for IPv4, `u128` for IPv6, in native order.
pub(crate) trait AddressBits: Copy + Ord + Debug {
    /// Number of bits of an address.
    const BITS: u8;
    /// First and last address of the prefix `self/length`.
    fn range(self, length: u8) -> (Self, Self);
    /// The next address, if there is one.
    fn next(self) -> Option<Self>;
}

macro_rules! address_bits {
    ($type:ty, $bits:literal) => {
        impl AddressBits for $type {
            const BITS: u8 = $bits;

            fn range(self, length: u8) -> (Self, Self) {
                let host = <$type>::MAX.checked_shr(u32::from(length)).unwrap_or(0);
                (self & !host, self | host)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    };
}
address_bits!(u32, 32);
address_bits!(u128, 128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_reaches_from_its_first_to_its_last_address() {
        assert_eq!(0x0a01_0203_u32.range(8), (0x0a00_0000, 0x0aff_ffff));
        assert_eq!(7_u32.range(0), (0, u32::MAX));
        assert_eq!(7_u128.range(128), (7, 7));
        assert_eq!((u128::MAX.next(), 6_u32.next()), (None, Some(7)));
    }
}
