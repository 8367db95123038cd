//! Notify payloads (RFC 7296 §3.10) and their type numbers.

/// Protocol identifiers of SA, Notify and Delete payloads.
pub(crate) mod protocol {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const IKE: u8 = 1;
    pub(crate) const ESP: u8 = 3;
}

/// Notify message types that this implementation sends or understands. Below 16384: errors.
pub(crate) mod notify_type {
    pub(crate) const UNSUPPORTED_CRITICAL_PAYLOAD: u16 = 1;
    pub(crate) const INVALID_MAJOR_VERSION: u16 = 5;
    pub(crate) const INVALID_SYNTAX: u16 = 7;
    pub(crate) const NO_PROPOSAL_CHOSEN: u16 = 14;
    pub(crate) const INVALID_KE_PAYLOAD: u16 = 17;
    pub(crate) const AUTHENTICATION_FAILED: u16 = 24;
    pub(crate) const NO_ADDITIONAL_SAS: u16 = 35;
    pub(crate) const TS_UNACCEPTABLE: u16 = 38;
    pub(crate) const UNACCEPTABLE_ADDRESSES: u16 = 40;
    pub(crate) const UNEXPECTED_NAT_DETECTED: u16 = 41;
    pub(crate) const TEMPORARY_FAILURE: u16 = 43;
    pub(crate) const CHILD_SA_NOT_FOUND: u16 = 44;
    pub(crate) const STATE_NOT_FOUND: u16 = 47;
    pub(crate) const INITIAL_CONTACT: u16 = 16384;
    pub(crate) const NAT_DETECTION_SOURCE_IP: u16 = 16388;
    pub(crate) const NAT_DETECTION_DESTINATION_IP: u16 = 16389;
    pub(crate) const COOKIE: u16 = 16390;
    pub(crate) const USE_TRANSPORT_MODE: u16 = 16391;
    pub(crate) const REKEY_SA: u16 = 16393;
    pub(crate) const ESP_TFC_PADDING_NOT_SUPPORTED: u16 = 16394;
    pub(crate) const MOBIKE_SUPPORTED: u16 = 16396;
    pub(crate) const UPDATE_SA_ADDRESSES: u16 = 16400;
    pub(crate) const COOKIE2: u16 = 16401;
    pub(crate) const NO_NATS_ALLOWED: u16 = 16402;
    pub(crate) const REDIRECT_SUPPORTED: u16 = 16406;
    pub(crate) const REDIRECT: u16 = 16407;
    pub(crate) const REDIRECTED_FROM: u16 = 16408;
    pub(crate) const CHILDLESS_IKEV2_SUPPORTED: u16 = 16418;
    pub(crate) const IKEV2_FRAGMENTATION_SUPPORTED: u16 = 16430;
    pub(crate) const USE_PPK: u16 = 16435;
    pub(crate) const PPK_IDENTITY: u16 = 16436;
    pub(crate) const NO_PPK_AUTH: u16 = 16437;
    pub(crate) const INTERMEDIATE_EXCHANGE_SUPPORTED: u16 = 16438;
    pub(crate) const ADDITIONAL_KEY_EXCHANGE: u16 = 16441;
    pub(crate) const SIGNATURE_HASH_ALGORITHMS: u16 = 16431;
    /// First number of the status types.
    pub(crate) const FIRST_STATUS: u16 = 16384;
}

/// A Notify payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notify {
    /// Protocol of the SPI; [`protocol::NONE`] without one.
    pub(crate) protocol: u8,
    /// The SPI that the notify is about; empty if none.
    pub(crate) spi: Vec<u8>,
    pub(crate) kind: u16,
    pub(crate) data: Vec<u8>,
}

impl Notify {
    /// A notify about no SPI.
    pub(crate) fn new(kind: u16, data: Vec<u8>) -> Self {
        Notify { protocol: protocol::NONE, spi: Vec::new(), kind, data }
    }

    /// A notify about the ESP SA of this SPI.
    pub(crate) fn about_esp(kind: u16, spi: u32) -> Self {
        Notify { protocol: protocol::ESP, spi: spi.to_be_bytes().to_vec(), kind, data: Vec::new() }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.kind < notify_type::FIRST_STATUS
    }
}
