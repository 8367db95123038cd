//! The packet process of tohub: crypto-map match, ESP, forwarding.
