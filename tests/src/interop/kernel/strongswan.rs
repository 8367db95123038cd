//! strongSwan as IKE daemon of the kernel: each algorithm plain, and in UDP with extended sequence
//! numbers; some in transport mode.

use crate::algorithms::{ALL, EspTransform};
use crate::case::{BOTH, Case, Initiator, Opposite, Wire};
use crate::kernel::transport::Way;
use crate::plays;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (algorithm, initiator) in ALL.iter().zip(BOTH.iter().cycle()) {
        let other = if *initiator == Initiator::Tohub { Initiator::Stranger } else { Initiator::Tohub };
        cases.push(plain(algorithm, *initiator));
        cases.push(in_udp_with_esn(algorithm, other));
    }
    cases.extend(super::transport::WAYS.map(in_transport_mode));
    cases
}

fn in_transport_mode(way: Way) -> Case {
    let case = super::transport::case(way, Opposite::StrongSwanOnKernel);
    let esp = if way.esn {
        format!("ESP={}-esn", way.algorithm.strongswan)
    } else {
        format!("ESP={}", way.algorithm.strongswan)
    };
    let shown = if way.wire == Wire::Udp { "TRANSPORT-in-UDP" } else { "TRANSPORT, " };
    case.with(&[&esp]).showing(&[], &[way.algorithm.shown, shown])
}

fn plain(algorithm: &EspTransform, initiator: Initiator) -> Case {
    let mut case = Case::new(algorithm.transform, Opposite::StrongSwanOnKernel, initiator);
    case.ours.transform = algorithm.transform.to_owned();
    case.with(&[&format!("ESP={}", algorithm.strongswan)])
        .showing(&[&format!("transform: {} ,", algorithm.we_show)], &[algorithm.shown])
        .playing(plays::transfer)
}

fn in_udp_with_esn(algorithm: &EspTransform, initiator: Initiator) -> Case {
    let mut case = plain(algorithm, initiator);
    case.title.push_str(" with ESN in UDP");
    case.ours.set.push_str(" esn\n");
    case.wire = Wire::Udp;
    case.with(&["ENCAP=yes", &format!("ESP={}-esn", algorithm.strongswan)])
        .showing(&["UDP-Encaps"], &["-in-UDP", "/ESN"])
        .playing(plays::tunnel)
}
