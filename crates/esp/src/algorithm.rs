//! Keys that do not fit their algorithm, and the shape of packets under each algorithm.

use ipsec_types::{EspAlgorithm, Mode};

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key's length does not fit the algorithm.
    #[error("{algorithm:?} takes a key of {expected} bytes, not {actual}: negotiate the matching key length")]
    Length {
        /// The algorithm.
        algorithm: EspAlgorithm,
        /// Bytes that it takes, salt excluded.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
}

/// The properties of an algorithm that the packet path uses. AES-GCM and ChaCha20-Poly1305 share
/// one shape, which is a compile-time constant on the fast path; the others store theirs.
pub(crate) trait Shape: Copy {
    fn iv_len(self) -> usize;
    fn icv_len(self) -> usize;
    fn alignment(self) -> usize;
    /// The data of a job begin with the IV, which is authenticated like the text.
    fn data_has_iv(self) -> bool;
    /// The SA is in transport mode.
    fn is_transport(self) -> bool;
}

/// AES-GCM and ChaCha20-Poly1305 in tunnel mode: the IV is in the nonce only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aead;

impl Shape for Aead {
    #[inline(always)]
    fn iv_len(self) -> usize {
        8
    }
    #[inline(always)]
    fn icv_len(self) -> usize {
        16
    }
    #[inline(always)]
    fn alignment(self) -> usize {
        4
    }
    #[inline(always)]
    fn data_has_iv(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_transport(self) -> bool {
        false
    }
}

/// Any other algorithm, and transport mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    iv_len: u8,
    icv_len: u8,
    alignment: u8,
    data_has_iv: bool,
    is_transport: bool,
}

impl Other {
    /// `None` for what has the shape [`Aead`].
    pub(crate) fn of(algorithm: EspAlgorithm, mode: Mode) -> Option<Self> {
        let data_has_iv = !matches!(
            algorithm,
            EspAlgorithm::AesGcm128
                | EspAlgorithm::AesGcm192
                | EspAlgorithm::AesGcm256
                | EspAlgorithm::ChaCha20Poly1305
        );
        let is_transport = mode == Mode::Transport;
        (data_has_iv || is_transport).then_some(Self {
            iv_len: algorithm.iv_len() as u8,
            icv_len: algorithm.icv_len() as u8,
            alignment: algorithm.alignment() as u8,
            data_has_iv,
            is_transport,
        })
    }
}

impl Shape for Other {
    #[inline]
    fn iv_len(self) -> usize {
        self.iv_len.into()
    }
    #[inline]
    fn icv_len(self) -> usize {
        self.icv_len.into()
    }
    #[inline]
    fn alignment(self) -> usize {
        self.alignment.into()
    }
    #[inline]
    fn data_has_iv(self) -> bool {
        self.data_has_iv
    }
    #[inline]
    fn is_transport(self) -> bool {
        self.is_transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_shape_is_that_of_every_algorithm_that_has_no_other() {
        let with_constant_shape: Vec<_> =
            EspAlgorithm::ALL.into_iter().filter(|of| Other::of(*of, Mode::Tunnel).is_none()).collect();
        assert_eq!(with_constant_shape.len(), 4);
        for algorithm in with_constant_shape {
            let lengths = (algorithm.iv_len(), algorithm.icv_len(), algorithm.alignment());
            assert_eq!(lengths, (Aead.iv_len(), Aead.icv_len(), Aead.alignment()));
        }
    }

    #[test]
    fn every_length_is_within_the_room_that_callers_leave() {
        for algorithm in EspAlgorithm::ALL {
            assert!(40 + 8 + 8 + algorithm.iv_len() <= crate::MAX_HEADROOM);
            assert!(algorithm.alignment() - 1 + 2 + algorithm.icv_len() <= crate::MAX_TAILROOM);
            assert!(algorithm.alignment().is_power_of_two());
        }
    }
}
