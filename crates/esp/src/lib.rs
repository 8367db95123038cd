//! ESP (RFC 4303) as a pure function over bursts of packets.
