//! The portable back end: the `aes-gcm` crate, packet by packet. The reference of the self-test and
//! the fallback on every machine.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes192;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, AesGcm, Key, KeyInit, KeySizeUser};
use zeroize::Zeroize;

use crate::Job;

type Aes192Gcm = AesGcm<Aes192, U12>;

/// A key in the form of the `aes-gcm` crate, which erases it when dropped.
pub(crate) enum PortableKey {
    Aes128(Aes128Gcm),
    Aes192(Aes192Gcm),
    Aes256(Aes256Gcm),
}

impl PortableKey {
    /// `key` has 16, 24 or 32 bytes: `KeySchedule::new` refuses others.
    pub(crate) fn new(key: &[u8]) -> Self {
        match key.len() {
            16 => PortableKey::Aes128(expand(key)),
            24 => PortableKey::Aes192(expand(key)),
            _ => PortableKey::Aes256(expand(key)),
        }
    }

    fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; 16], aes_gcm::Error> {
        match self {
            PortableKey::Aes128(key) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
            PortableKey::Aes192(key) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
            PortableKey::Aes256(key) => key.encrypt_inout_detached(&nonce.into(), aad, text.into()),
        }
        .map(Into::into)
    }

    fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: [u8; 16],
    ) -> Result<(), aes_gcm::Error> {
        let text = InOutBuf::from(text);
        match self {
            PortableKey::Aes128(key) => key.decrypt_inout_detached(&nonce.into(), aad, text, &tag.into()),
            PortableKey::Aes192(key) => key.decrypt_inout_detached(&nonce.into(), aad, text, &tag.into()),
            PortableKey::Aes256(key) => key.decrypt_inout_detached(&nonce.into(), aad, text, &tag.into()),
        }
    }
}

fn expand<Cipher: KeyInit + KeySizeUser>(key: &[u8]) -> Cipher {
    let mut sized = Key::<Cipher>::default();
    sized.copy_from_slice(key);
    let cipher = Cipher::new(&sized);
    sized.zeroize();
    cipher
}

/// Seals or opens one by one. Returns how many were rejected.
pub(crate) fn run<const OPEN: bool>(jobs: &mut [Job<'_>]) -> usize {
    let mut rejected = 0;
    for job in jobs {
        let key = job.schedule.portable();
        let nonce = job.nonce;
        let mut inline = job.reversed_aad().copied().unwrap_or_default();
        inline.reverse();
        let aad = job.long_aad().unwrap_or_else(|| &inline[..job.aad_len()]);
        if !OPEN {
            match key.seal(nonce, aad, job.text()) {
                Ok(tag) => *job.tag = tag,
                // Reached only for lengths above the library's limit, which `Job::new` rules out:
                // erase the text.
                Err(_) => job.text().fill(0),
            }
            continue;
        }
        let tag = *job.tag;
        job.authentic = key.open(nonce, aad, job.text(), tag).is_ok();
        if !job.authentic {
            job.text().fill(0);
            rejected += 1;
        }
    }
    rejected
}
