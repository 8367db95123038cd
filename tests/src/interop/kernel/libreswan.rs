//! libreswan as IKE daemon of the kernel: each algorithm that it supports, plain or in UDP, and
//! some in transport mode.

use crate::algorithms::{ALL, EspTransform};
use crate::case::{Case, Initiator, Opposite, Wire};
use crate::kernel::transport::Way;
use crate::plays;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let ways = [(Initiator::Tohub, Wire::Plain), (Initiator::Stranger, Wire::Udp)];
    let known = ALL.iter().filter_map(|algorithm| Some((algorithm, algorithm.libreswan?)));
    for (number, (algorithm, word)) in known.enumerate() {
        // All four ways in turn.
        let ((initiator, _), (_, wire)) = (ways[number % 2], ways[number / 2 % 2]);
        cases.push(case(algorithm, word, initiator, wire));
    }
    let transport = |way: Way| in_transport_mode(way, way.algorithm.libreswan.unwrap_or_default());
    cases.extend(super::transport::WAYS.map(transport));
    cases
}

fn in_transport_mode(way: Way, word: &str) -> Case {
    let mut case = super::transport::case(way, Opposite::LibreswanOnKernel);
    case.template = "libreswan-psk";
    case.settings.retain(|setting| !setting.starts_with("IKE=") && !setting.starts_with("ESP="));
    case.with(&["IKE=aes256-sha2_256-dh19", &format!("ESP={word}")])
}

fn case(algorithm: &EspTransform, word: &str, initiator: Initiator, wire: Wire) -> Case {
    let words = if wire == Wire::Udp { " in UDP" } else { "" };
    let mut case =
        Case::new(format!("{}{words}", algorithm.transform), Opposite::LibreswanOnKernel, initiator)
            .showing(&[&format!("transform: {} ,", algorithm.we_show)], &[])
            .playing(plays::transfer);
    case.template = "libreswan-psk";
    case.settings = vec!["IKE=aes256-sha2_256-dh19".to_owned(), format!("ESP={word}")];
    case.ours.transform = algorithm.transform.to_owned();
    case.wire = wire;
    if wire == Wire::Udp { case.with(&["ENCAP=yes"]).showing(&["UDP-Encaps"], &[]) } else { case }
}
