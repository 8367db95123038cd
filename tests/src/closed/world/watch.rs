//! Selection of the frames that are sightings.

use crate::packet::{Flow, Mark};
use crate::wire::{self, Finding, Frame};

/// Marked packets that leave a gateway, and packets without a mark between protected addresses.
pub fn watch_internet(frame: &Frame<'_>) -> Option<Finding> {
    // On the loopback device the internet only sends itself errors about an unreachable next hop.
    if frame.outgoing || frame.device == "lo" {
        return None;
    }
    if let Some(mark) = Mark::find(frame.bytes) {
        return Some(Finding::Marked(mark));
    }
    let (source, destination, _) = wire::ipv4(frame.bytes)?;
    let inner = |address: std::net::Ipv4Addr| address.octets()[..3] == [192, 168, 1];
    let protected = |address: std::net::Ipv4Addr| address.octets()[..2] == [10, 2];
    let selected = (inner(source) && protected(destination)) || (protected(source) && inner(destination));
    selected.then_some(Finding::Unmarked)
}

/// Forged packets from outside that reached the host.
pub fn watch_host(frame: &Frame<'_>) -> Option<Finding> {
    let mark = Mark::find(frame.bytes)?;
    (!frame.outgoing && matches!(mark.flow, Flow::Inward | Flow::InwardOwn)).then_some(Finding::Marked(mark))
}

/// Packets that leave by the TUN device, which has no far end to capture at.
pub fn watch_tun(frame: &Frame<'_>) -> Option<Finding> {
    let leaves = frame.outgoing && frame.device == "tun7";
    leaves.then(|| Mark::find(frame.bytes)).flatten().map(Finding::Marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45]);
        frame.extend([0; 8]);
        frame.extend([6, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
        frame
    }

    #[test]
    fn a_packet_between_protected_addresses_is_seen_without_a_mark() {
        let seen_on = |device, source, destination, outgoing| {
            watch_internet(&Frame { bytes: &frame(source, destination), outgoing, device })
        };
        let seen = |source, destination, outgoing| seen_on("branch", source, destination, outgoing);
        assert_eq!(seen_on("lo", [10, 2, 0, 77], [192, 168, 1, 10], false), None);
        assert_eq!(seen([192, 168, 1, 1], [10, 2, 0, 77], false), Some(Finding::Unmarked));
        assert_eq!(seen([10, 2, 3, 4], [192, 168, 1, 10], false), Some(Finding::Unmarked));
        assert_eq!(seen([10, 2, 3, 4], [192, 168, 1, 10], true), None);
        assert_eq!(seen([192, 0, 2, 1], [203, 0, 113, 2], false), None);
        assert_eq!(seen([192, 168, 1, 10], [198, 18, 0, 9], false), None);
    }
}
