//! The IV of each packet that an SA sends.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

/// Unpredictable IVs for AES-CBC (RFC 3602 §3) without a system call per packet: the sequence
/// number, encrypted with AES-128 under a key that is drawn at random when the SA is built and used
/// for nothing else.
///
/// Without that key the IVs are indistinguishable from random blocks that never repeat: a
/// permutation applied to a counter, which is NIST SP 800-38A appendix C's first method, except
/// that the key is not the SA's own. Under the SA's key an attacker who chooses plaintext could
/// have the counter's block encrypted and so learn an IV before it is used. After a restart the key
/// is another one, so even a repeated sequence number, as with manual keys, gets a new IV.
pub(crate) struct RandomIv(Aes128Enc);

impl RandomIv {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(Aes128Enc::new(&Array(*key)))
    }

    #[inline]
    pub(crate) fn of(&self, sequence: u64) -> [u8; 16] {
        let mut block = Array([0; 16]);
        block[8..].copy_from_slice(&sequence.to_be_bytes());
        self.0.encrypt_block(&mut block);
        block.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197 appendix B with the plaintext's upper half zero would be no test: the block is
    /// compared with AES itself.
    #[test]
    fn an_iv_is_the_encrypted_sequence_number_and_differs_for_every_number_and_key() {
        let mut expected = Array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        Aes128Enc::new(&Array([9; 16])).encrypt_block(&mut expected);
        assert_eq!(RandomIv::new(&[9; 16]).of(0x0102_0304_0506_0708), expected.0);
        let of_key = |key: u8| (1..=1000u64).map(move |number| RandomIv::new(&[key; 16]).of(number));
        let all: std::collections::HashSet<_> = of_key(1).chain(of_key(2)).collect();
        assert_eq!(all.len(), 2000);
    }
}
