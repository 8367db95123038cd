//! `show crypto ikev2 stats`: counters of received IKE messages, including those from unknown
//! peers, and of their results.

use std::fmt::Write as _;

use ike::Counters;

/// One counter a line, all since this control plane started.
pub(super) fn ikev2_stats(counters: &Counters) -> String {
    let lines = [
        ("Datagrams received", counters.datagrams),
        ("Malformed", counters.malformed),
        ("Unknown SPI", counters.unknown_spi),
        ("Integrity check failed", counters.not_authentic),
        ("Outside the message window", counters.out_of_window),
        ("Requests repeated by the peer", counters.replayed_requests),
        ("Requests repeated by us", counters.retransmissions),
        ("Cookies asked for", counters.cookies_sent),
        ("Half-open SAs refused", counters.half_open_refused),
        ("Half-open SAs expired", counters.half_open_expired),
        ("Initiators without a connection", counters.no_connection),
        ("Peers not authenticated", counters.authentication_failed),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{:<33}{value}", format!("{name}:"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_line() {
        let counters = Counters { datagrams: 7, authentication_failed: 2, ..Counters::default() };
        let text = ikev2_stats(&counters);
        assert!(text.starts_with("Datagrams received:              7\n"), "{text}");
        assert!(text.ends_with("Peers not authenticated:         2\n"), "{text}");
        assert_eq!(text.lines().count(), 12);
    }
}
