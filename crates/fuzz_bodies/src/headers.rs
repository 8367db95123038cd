//! Packets: every view and every builder of `wire`.

use wire::parse::{self, FrameSummary};
use wire::{arp, esp, ethernet, icmp, icmpv4, icmpv6, ipv4, ipv6, ndp, tcp, udp};

/// A frame. No view panics, the parser agrees with the views, and a parsed header is written back
/// unchanged.
pub fn wire(data: &[u8]) {
    let summary = parse::frame(data);
    if let Ok(frame) = ethernet::Frame::new_checked(data) {
        let _ = (frame.destination(), frame.source(), frame.ethertype(), frame.header_len());
        network(frame.payload());
    }
    if let Ok(header) = ethernet::Header::parse(data) {
        let mut again = [0; 64];
        if let Ok(length) = header.emit(&mut again) {
            assert_eq!(ethernet::Header::parse(&again[..length]), Ok(header), "an Ethernet header survives");
        }
    }
    if let Ok(FrameSummary { link, ip: Some(_) }) = &summary {
        assert!(usize::from(link.len) <= data.len(), "the walk stays inside of the frame");
    }
    network(data);
}

fn network(packet: &[u8]) {
    let _ = (parse::ip_at(packet, 0), parse::ipv4_at(packet, 0), parse::ipv6_at(packet, 0));
    let _ = arp::Packet::parse(packet).map(|arp| arp.emit(&mut [0; 64]));
    if let Ok(view) = ipv4::Packet::new_checked(packet) {
        let _ = (view.tos(), view.identification(), view.fragment_offset(), view.ttl(), view.options());
        let _ = (view.source(), view.destination(), view.checksum_ok(), view.more_fragments());
        assert!(view.header_len() <= view.total_len() && view.total_len() <= packet.len());
        transport(view.payload());
        let mut copy = packet.to_vec();
        if let Ok(mut view) = ipv4::Packet::new_checked(&mut copy[..]) {
            let sound = view.checksum_ok();
            view.update_tos(0xb8);
            view.decrement_ttl();
            assert_eq!(
                view.checksum_ok(),
                sound,
                "updates keep a right checksum right and a wrong one wrong"
            );
            view.fill_checksum();
            assert!(view.checksum_ok());
        }
    }
    if let Ok(view) = ipv6::Packet::new_checked(packet) {
        let _ = (view.traffic_class(), view.flow_label(), view.next_header(), view.hop_limit());
        let _ = (view.source(), view.destination());
        assert!(view.total_len() <= packet.len());
        transport(view.payload());
    }
    let _ = ipv4::Header::parse(packet);
    if let Ok(header) = ipv6::Header::parse(packet) {
        let mut again = [0; 128];
        if let Ok(length) = header.emit(&mut again) {
            assert!(length <= 40);
        }
    }
    let _ = ipv6::FragmentHeader::parse(packet);
    transport(packet);
}

fn transport(payload: &[u8]) {
    if let Ok(view) = udp::Packet::new_checked(payload) {
        let _ = (view.source_port(), view.destination_port(), view.checksum(), view.payload());
        let _ = view.checksum_ok([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let _ = esp::UdpPayload::classify(view.payload());
    }
    if let Ok(view) = tcp::Packet::new_checked(payload) {
        let _ = (view.source_port(), view.destination_port(), view.sequence(), view.flags(), view.is_syn());
        let _ = (view.header_len(), view.payload());
    }
    if let Ok(view) = esp::Packet::new_checked(payload) {
        let _ = (view.spi(), view.sequence(), view.payload());
    }
    let _ = (udp::Header::parse(payload), esp::Header::parse(payload), icmp::Header::parse(payload));
    let _ = ndp::Message::parse(payload);
    let _ = esp::UdpPayload::classify(payload);
    if let Ok(view) = icmp::Packet::<_, icmpv4::V4>::new_checked(payload) {
        let _ = (view.kind(), view.code(), view.rest_of_header(), view.next_hop_mtu(), view.checksum_ok());
        let _ = (parse::ipv4_at(view.payload(), 0), view.bytes());
    }
    if let Ok(view) = icmp::Packet::<_, icmpv6::V6>::new_checked(payload) {
        let address = std::net::Ipv6Addr::LOCALHOST;
        let _ = (view.kind(), view.next_hop_mtu(), view.checksum_ok(address, address));
        let _ = parse::ipv6_at(view.payload(), 0);
    }
}
