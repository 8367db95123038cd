//! Counters of an endpoint.

/// Counters of received and sent messages by outcome. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed in.
    pub datagrams: u64,
    /// Too short, or not IKEv2, or lengths that contradict each other.
    pub malformed: u64,
    /// An SPI pair that no IKE SA has.
    pub unknown_spi: u64,
    /// Integrity check failed, or not decryptable.
    pub not_authentic: u64,
    /// Message ID outside the window, or an exchange that does not fit the state.
    pub out_of_window: u64,
    /// Requests answered again from the stored response.
    pub replayed_requests: u64,
    /// Our requests sent again.
    pub retransmissions: u64,
    /// IKE_SA_INIT requests answered by a cookie.
    pub cookies_sent: u64,
    /// IKE_SA_INIT requests ignored because a half-open limit or the limit of IKE SAs was reached.
    pub half_open_refused: u64,
    /// IKE_SA_INIT requests from addresses that no connection has.
    pub no_connection: u64,
    /// Half-open IKE SAs dropped because the peer did not continue in time.
    pub half_open_expired: u64,
    /// IKE_AUTH exchanges that failed to authenticate the peer.
    pub authentication_failed: u64,
}
