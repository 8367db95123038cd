//! The ESP algorithms of tohub, and their names in third-party implementations.

/// The names of one algorithm.
#[derive(Debug, Clone, Copy)]
pub struct EspTransform {
    /// In our transform set.
    pub transform: &'static str,
    /// In our `show` output.
    pub we_show: &'static str,
    /// In strongSwan's proposals.
    pub strongswan: &'static str,
    /// In strongSwan's list of SAs.
    pub shown: &'static str,
    /// In libreswan's proposals, if libreswan has the algorithm.
    pub libreswan: Option<&'static str>,
}

const fn algorithm(
    transform: &'static str,
    we_show: &'static str,
    strongswan: &'static str,
    shown: &'static str,
    libreswan: Option<&'static str>,
) -> EspTransform {
    EspTransform { transform, we_show, strongswan, shown, libreswan }
}

/// All of them.
#[rustfmt::skip]
pub const ALL: &[EspTransform] = &[
    algorithm("esp-gcm", "esp-gcm", "aes128gcm16", "AES_GCM_16-128", Some("aes_gcm128")),
    algorithm("esp-gcm 192", "esp-gcm 192", "aes192gcm16", "AES_GCM_16-192", Some("aes_gcm192")),
    algorithm("esp-gcm 256", "esp-gcm 256", "aes256gcm16", "AES_GCM_16-256", Some("aes_gcm256")),
    algorithm("esp-gmac", "esp-gmac", "aes128gmac", "NULL_AES_GMAC-128", None),
    algorithm("esp-gmac 192", "esp-gmac 192", "aes192gmac", "NULL_AES_GMAC-192", None),
    algorithm("esp-gmac 256", "esp-gmac 256", "aes256gmac", "NULL_AES_GMAC-256", None),
    algorithm("esp-chacha20-poly1305", "esp-chacha20-poly1305", "chacha20poly1305", "CHACHA20_POLY1305", Some("chacha20_poly1305")),
    algorithm("esp-aes esp-sha-hmac", "esp-aes esp-sha-hmac", "aes128-sha1", "AES_CBC-128/HMAC_SHA1_96", Some("aes128-sha1")),
    algorithm("esp-aes esp-sha256-hmac", "esp-aes esp-sha256-hmac", "aes128-sha256", "AES_CBC-128/HMAC_SHA2_256_128", Some("aes128-sha2_256")),
    algorithm("esp-aes 192 esp-sha384-hmac", "esp-192-aes esp-sha384-hmac", "aes192-sha384", "AES_CBC-192/HMAC_SHA2_384_192", Some("aes192-sha2_384")),
    algorithm("esp-aes 256 esp-sha512-hmac", "esp-256-aes esp-sha512-hmac", "aes256-sha512", "AES_CBC-256/HMAC_SHA2_512_256", Some("aes256-sha2_512")),
    algorithm("esp-null esp-sha256-hmac", "esp-null esp-sha256-hmac", "null-sha256", "NULL/HMAC_SHA2_256_128", Some("null-sha2_256")),
    algorithm("esp-null esp-sha512-hmac", "esp-null esp-sha512-hmac", "null-sha512", "NULL/HMAC_SHA2_512_256", None),
];

/// Those that strongSwan's user-space ESP supports too: no GMAC.
pub fn of_user_space() -> impl Iterator<Item = &'static EspTransform> {
    ALL.iter().filter(|algorithm| !algorithm.strongswan.ends_with("gmac"))
}
