//! The algorithms of ESP that tohub and a Linux kernel both have.

/// One algorithm in the words of everybody.
#[derive(Debug, Clone, Copy)]
pub struct Algorithm {
    /// In our transform set, and in what we show.
    pub transform: &'static str,
    /// In strongSwan's proposals.
    pub strongswan: &'static str,
    /// In strongSwan's list of SAs.
    pub shown: &'static str,
    /// In libreswan's proposals, where it has the algorithm.
    pub libreswan: Option<&'static str>,
}

const fn algorithm(
    transform: &'static str,
    strongswan: &'static str,
    shown: &'static str,
    libreswan: Option<&'static str>,
) -> Algorithm {
    Algorithm { transform, strongswan, shown, libreswan }
}

/// All of them.
pub const ALL: &[Algorithm] = &[
    algorithm("esp-gcm", "aes128gcm16", "AES_GCM_16-128", Some("aes_gcm128")),
    algorithm("esp-gcm 192", "aes192gcm16", "AES_GCM_16-192", Some("aes_gcm192")),
    algorithm("esp-gcm 256", "aes256gcm16", "AES_GCM_16-256", Some("aes_gcm256")),
];
