//! Addresses as words.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Two words of an address, most significant first; IPv4 is in the low half of the second.
pub(crate) fn address_words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, u64::from(u32::from(address))],
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// The address of two words; the family is stored beside them.
pub(crate) fn address_from(words: [u64; 2], is_v6: bool) -> IpAddr {
    if is_v6 {
        Ipv6Addr::from(u128::from(words[0]) << 64 | u128::from(words[1])).into()
    } else {
        Ipv4Addr::from(words[1] as u32).into()
    }
}

/// The two words at `index`; zeros outside.
pub(crate) fn pair_at(words: &[u64], index: usize) -> [u64; 2] {
    [words.get(index).copied().unwrap_or(0), words.get(index + 1).copied().unwrap_or(0)]
}

/// Writes the two words of an address at `index`.
pub(crate) fn put_address(words: &mut [u64], index: usize, address: IpAddr) {
    words[index..index + 2].copy_from_slice(&address_words(address));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_as_words() {
        for text in ["192.0.2.255", "2001:db8:1:2:3:4:5:6", "::ffff:192.0.2.1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_from(address_words(address), address.is_ipv6()), address);
        }
    }
}
