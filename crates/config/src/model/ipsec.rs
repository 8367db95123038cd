//! `crypto ipsec …`: transform sets, lifetimes and other global lines.

/// ESP cipher of a transform set; key lengths in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EspCipher {
    /// `esp-des`, rejected when used.
    Des,
    /// `esp-3des`, rejected when used.
    TripleDes,
    /// `esp-aes [128|192|256]` in CBC mode.
    Aes(u16),
    /// `esp-gcm [128|192|256]`, 16-byte ICV.
    Gcm(u16),
    /// `esp-gmac [128|192|256]`: integrity without confidentiality.
    Gmac(u16),
    /// `esp-chacha20-poly1305` (RFC 7634), a tohub extension.
    ChaCha20Poly1305,
    /// `esp-null`.
    Null,
    /// `esp-seal`, stored, rejected when used.
    Seal,
}

impl EspCipher {
    /// Whether the transform includes integrity and excludes a separate MAC.
    pub fn is_combined(self) -> bool {
        matches!(self, Self::Gcm(_) | Self::Gmac(_) | Self::ChaCha20Poly1305)
    }
}

/// HMAC of ESP or AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EspMac {
    /// `md5`, rejected when used.
    Md5,
    /// `sha` (SHA-1).
    Sha1,
    /// `sha256`.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

/// AH transform; AH itself is rejected when used.
pub type AhTransform = EspMac;

/// Encapsulation mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `mode tunnel`, the default.
    #[default]
    Tunnel,
    /// `mode transport`: used if the selectors are the endpoints, otherwise tunnel mode.
    Transport,
    /// `mode transport require`.
    TransportRequire,
}

/// `crypto ipsec transform-set T …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransformSet {
    /// `ah-…-hmac`.
    pub ah: Option<AhTransform>,
    /// The ESP cipher.
    pub cipher: Option<EspCipher>,
    /// `esp-…-hmac`.
    pub mac: Option<EspMac>,
    /// `comp-lzs`, rejected when used.
    pub compression: bool,
    /// `mode`.
    pub mode: Mode,
    /// `esn`.
    pub esn: bool,
}

/// The volume limit of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KilobyteLimit {
    /// 2560–4294967295 kilobytes.
    Kilobytes(u32),
    /// `disable`.
    Disabled,
}

/// `… security-association lifetime`; absent values are taken from the global lines, and there from
/// the IOS defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// `seconds S` (or `days 1`).
    pub seconds: Option<u32>,
    /// `kilobytes K`.
    pub kilobytes: Option<KilobyteLimit>,
}

impl Lifetime {
    /// The IOS default in seconds.
    pub const SECONDS: u32 = 3600;
    /// The IOS default in kilobytes.
    pub const KILOBYTES: u32 = 4_608_000;
}

/// `… security-association replay …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// `window-size N`: 64, 128, 256, 512 or 1024 packets.
    Window(u16),
    /// `disable`.
    Disabled,
}

impl Replay {
    /// The IOS default.
    pub const DEFAULT: Self = Self::Window(64);
}

/// The DF bit of the outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DfBit {
    /// `clear`.
    Clear,
    /// `set`.
    Set,
    /// `copy`, the default.
    #[default]
    Copy,
}

/// Global `crypto ipsec …` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpsecGlobals {
    /// `crypto ipsec security-association lifetime`.
    pub lifetime: Lifetime,
    /// `crypto ipsec security-association idle-time`, seconds.
    pub idle_seconds: Option<u32>,
    /// `crypto ipsec security-association replay`.
    pub replay: Option<Replay>,
    /// `crypto ipsec df-bit`.
    pub df_bit: DfBit,
    /// `crypto ipsec fragmentation after-encryption`.
    pub fragment_after_encryption: bool,
    /// `crypto logging session`.
    pub logging_session: bool,
    /// `crypto logging ikev2`.
    pub logging_ikev2: bool,
    /// Lines without an effect, stored as entered.
    pub kept: Vec<String>,
}
