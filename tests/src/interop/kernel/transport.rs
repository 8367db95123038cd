//! Transport mode: the gateway's own traffic, which enters and leaves through its punt port, to and
//! from the peer's own address.

use crate::algorithms::{ALL, EspTransform};
use crate::case::{Case, Initiator, Opposite, Wire};
use crate::plays;

/// One case, for strongSwan or libreswan.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The algorithm of ESP.
    pub algorithm: &'static EspTransform,
    /// The initiator.
    pub initiator: Initiator,
    /// Plain or in UDP.
    pub wire: Wire,
    /// Extended sequence numbers.
    pub esn: bool,
}

const GCM: &EspTransform = &ALL[0];
const CBC: &EspTransform = &ALL[8];

/// A combined cipher and a cipher with an HMAC; each from both ends, plain and in UDP, with and
/// without extended sequence numbers.
#[rustfmt::skip]
pub const WAYS: [Way; 6] = [
    Way { algorithm: GCM, initiator: Initiator::Tohub, wire: Wire::Plain, esn: false },
    Way { algorithm: CBC, initiator: Initiator::Stranger, wire: Wire::Plain, esn: false },
    Way { algorithm: GCM, initiator: Initiator::Stranger, wire: Wire::Plain, esn: true },
    Way { algorithm: CBC, initiator: Initiator::Tohub, wire: Wire::Plain, esn: true },
    Way { algorithm: GCM, initiator: Initiator::Stranger, wire: Wire::Udp, esn: false },
    Way { algorithm: CBC, initiator: Initiator::Tohub, wire: Wire::Udp, esn: true },
];

/// The case, without the peer's name of the algorithm.
pub fn case(way: Way, opposite: Opposite) -> Case {
    let esn = if way.esn { " with ESN" } else { "" };
    let udp = if way.wire == Wire::Udp { " in UDP" } else { "" };
    // The responder requires transport mode, so that a fallback to tunnel mode fails the case.
    let mode = match way.initiator {
        Initiator::Tohub => " mode transport\n",
        Initiator::Stranger => " mode transport require\n",
    };
    let mut case =
        Case::new(format!("{}{esn}{udp}, transport mode", way.algorithm.transform), opposite, way.initiator)
            .in_transport_mode(&format!("{mode}{}", if way.esn { " esn\n" } else { "" }))
            .playing(plays::transport);
    case.ours.transform = way.algorithm.transform.to_owned();
    case.wire = way.wire;
    let settings = if way.wire == Wire::Udp { "Transport UDP-Encaps" } else { "Transport, " };
    let shown = [format!("transform: {} ,", way.algorithm.we_show), format!("in use settings ={{{settings}")];
    let case = case.showing(&[&shown[0], &shown[1]], &[]);
    if way.wire == Wire::Udp { case.with(&["ENCAP=yes"]) } else { case }
}
