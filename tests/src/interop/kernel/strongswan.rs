//! strongSwan keys the kernel: each algorithm, plain and in UDP, with and without extended sequence numbers.

use crate::algorithms::{ALL, Algorithm};
use crate::case::{BOTH, Case, Initiator, Opposite, Wire};
use crate::plays;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (algorithm, initiator) in ALL.iter().zip(BOTH.iter().cycle()) {
        let other = if *initiator == Initiator::Tohub { Initiator::Stranger } else { Initiator::Tohub };
        cases.push(case(algorithm, *initiator, Wire::Plain, false).playing(plays::transfer));
        cases.push(case(algorithm, other, Wire::Plain, true));
        cases.push(case(algorithm, other, Wire::Udp, false));
    }
    cases
}

fn case(algorithm: &Algorithm, initiator: Initiator, wire: Wire, esn: bool) -> Case {
    let words = match (wire, esn) {
        (Wire::Udp, _) => " in UDP",
        (_, true) => " with ESN",
        _ => "",
    };
    let mut case =
        Case::new(format!("{}{words}", algorithm.transform), Opposite::StrongSwanOnKernel, initiator)
            .showing(&[&format!("transform: {} ,", algorithm.we_show)], &[algorithm.shown]);
    case.ours.transform = algorithm.transform.to_owned();
    if esn {
        case.ours.set.push_str(" esn\n");
        case = case.showing(&[], &["/ESN"]);
    }
    if wire == Wire::Udp {
        case = case.with(&["ENCAP=yes"]).showing(&["UDP-Encaps"], &["-in-UDP"]);
        case.wire = wire;
    }
    case.with(&[&format!("ESP={}{}", algorithm.strongswan, if esn { "-esn" } else { "" })])
}
