//! `show crypto ipsec sa`.

use std::fmt::Write;
use std::net::IpAddr;

/// One side of a protected flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// Network address.
    pub address: IpAddr,
    /// Prefix length.
    pub length: u8,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port, 0 for any.
    pub port: u16,
}

impl std::fmt::Display for Ident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            IpAddr::V4(_) => {
                let mask = crate::model::Prefix::mask(self.length);
                write!(f, "({}/{mask}/{}/{})", self.address, self.protocol, self.port)
            }
            IpAddr::V6(_) => write!(f, "({}/{}/{}/{})", self.address, self.length, self.protocol, self.port),
        }
    }
}

/// Packet counters of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Encrypted packets.
    pub encrypted: u64,
    /// Decrypted packets.
    pub decrypted: u64,
    /// Send errors.
    pub send_errors: u64,
    /// Receive errors.
    pub receive_errors: u64,
    /// Outbound packets without an SA.
    pub no_sa: u64,
    /// ICV failures.
    pub verify_failed: u64,
    /// Decrypted packets outside the SA's selectors.
    pub invalid_identity: u64,
    /// Malformed ESP.
    pub invalid_length: u64,
    /// Replayed packets.
    pub replay_failed: u64,
}

/// One IPsec SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecSaView {
    /// SPI.
    pub spi: u32,
    /// As in a transform set, in the order of show commands: `esp-256-aes esp-sha256-hmac`,
    /// `esp-gcm 256`.
    pub transform: String,
    /// True in transport mode.
    pub transport: bool,
    /// ESP in UDP.
    pub udp: bool,
    /// Small number of the SA.
    pub connection_id: u32,
    /// Kilobytes left, `None` when unlimited.
    pub kilobytes_left: Option<u64>,
    /// Seconds left.
    pub seconds_left: u64,
    /// IV bytes.
    pub iv_size: u8,
    /// Replay window in packets, `None` when off.
    pub replay_window: Option<u16>,
}

/// A protected flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecFlowView {
    /// Local proxy.
    pub local_ident: Ident,
    /// Remote proxy.
    pub remote_ident: Ident,
    /// Current peer and port; `None` before the first selection.
    pub peer: Option<(IpAddr, u16)>,
    /// Packet counters.
    pub counters: FlowCounters,
    /// Local tunnel address.
    pub local_endpoint: IpAddr,
    /// Path MTU toward the peer.
    pub path_mtu: u32,
    /// Largest inner packet.
    pub plaintext_mtu: u32,
    /// PFS group of the current SA.
    pub pfs_group: Option<u16>,
    /// Inbound SAs, the newest first.
    pub inbound: Vec<IpsecSaView>,
    /// Outbound SAs, the one in use first.
    pub outbound: Vec<IpsecSaView>,
}

/// The flows of a crypto map on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSasView {
    /// IOS name of the interface.
    pub interface: String,
    /// MTU of the interface.
    pub mtu: u32,
    /// Map set.
    pub map: String,
    /// Local address.
    pub local_address: IpAddr,
    /// Flows in the order of the map.
    pub flows: Vec<IpsecFlowView>,
}

/// `show crypto ipsec sa [detail]`.
pub fn ipsec_sa(interfaces: &[InterfaceSasView], detail: bool) -> String {
    if interfaces.iter().all(|interface| interface.flows.is_empty()) {
        return "No SAs found\n".into();
    }
    let mut text = String::new();
    for interface in interfaces.iter().filter(|i| !i.flows.is_empty()) {
        let _ = writeln!(text, "\ninterface: {}", interface.interface);
        let _ =
            writeln!(text, "    Crypto map tag: {}, local addr {}", interface.map, interface.local_address);
        for flow in &interface.flows {
            one_flow(&mut text, interface, flow, detail);
        }
    }
    text
}

fn one_flow(text: &mut String, interface: &InterfaceSasView, flow: &IpsecFlowView, detail: bool) {
    let c = &flow.counters;
    text.push_str("\n   protected vrf: (none)\n");
    let _ = writeln!(text, "   local  ident (addr/mask/prot/port): {}", flow.local_ident);
    let _ = writeln!(text, "   remote ident (addr/mask/prot/port): {}", flow.remote_ident);
    let (peer, port) = flow.peer.map_or(("0.0.0.0".into(), 500), |(peer, port)| (peer.to_string(), port));
    let _ = writeln!(text, "   current_peer {peer} port {port}\n     PERMIT, flags={{origin_is_acl,}}");
    let _ = writeln!(text, "    #pkts encaps: {0}, #pkts encrypt: {0}, #pkts digest: {0}", c.encrypted);
    let _ = writeln!(text, "    #pkts decaps: {0}, #pkts decrypt: {0}, #pkts verify: {0}", c.decrypted);
    text.push_str(concat!(
        "    #pkts compressed: 0, #pkts decompressed: 0\n",
        "    #pkts not compressed: 0, #pkts compr. failed: 0\n",
        "    #pkts not decompressed: 0, #pkts decompress failed: 0\n",
    ));
    if detail {
        let _ = writeln!(text, "    #pkts no sa (send) {}, #pkts invalid sa (rcv) 0", c.no_sa);
        let _ =
            writeln!(text, "    #pkts encaps failed (send) {}, #pkts decaps failed (rcv) 0", c.send_errors);
        let _ = writeln!(text, "    #pkts invalid prot (recv) 0, #pkts verify failed: {}", c.verify_failed);
        let _ = writeln!(
            text,
            "    #pkts invalid identity (recv) {}, #pkts invalid len (rcv) {}",
            c.invalid_identity, c.invalid_length
        );
        text.push_str("    #pkts replay rollover (send): 0, #pkts replay rollover (rcv) 0\n");
        let _ = writeln!(text, "    ##pkts replay failed (rcv): {}", c.replay_failed);
        text.push_str(concat!(
            "    #pkts tagged (send): 0, #pkts untagged (rcv): 0\n",
            "    #pkts not tagged (send): 0, #pkts not untagged (rcv): 0\n",
            "    #pkts internal err (send): 0, #pkts internal err (recv) 0\n",
        ));
    } else {
        let _ = writeln!(text, "    #send errors {}, #recv errors {}", c.send_errors, c.receive_errors);
    }
    let _ =
        writeln!(text, "\n     local crypto endpt.: {}, remote crypto endpt.: {peer}", flow.local_endpoint);
    let _ = writeln!(
        text,
        "     plaintext mtu {}, path mtu {}, ip mtu {}, ip mtu idb {}",
        flow.plaintext_mtu, flow.path_mtu, interface.mtu, interface.interface
    );
    let spi = flow.outbound.first().map_or(0, |sa| sa.spi);
    let _ = writeln!(text, "     current outbound spi: 0x{spi:X}({spi})");
    let _ = match flow.pfs_group {
        Some(group) => writeln!(text, "     PFS (Y/N): Y, DH group: group{group}"),
        None => writeln!(text, "     PFS (Y/N): N, DH group: none"),
    };
    for (direction, sas) in [("inbound", &flow.inbound), ("outbound", &flow.outbound)] {
        let _ = writeln!(text, "\n     {direction} esp sas:");
        for sa in sas {
            one_sa(text, sa, &interface.map, detail);
        }
        let _ = writeln!(text, "\n     {direction} ah sas:\n\n     {direction} pcp sas:");
    }
}

fn one_sa(text: &mut String, sa: &IpsecSaView, map: &str, detail: bool) {
    let mode = if sa.transport { "Transport" } else { "Tunnel" };
    let udp = if sa.udp { " UDP-Encaps" } else { "" };
    let _ = writeln!(text, "      spi: 0x{0:X}({0})", sa.spi);
    let _ = writeln!(text, "        transform: {} ,", sa.transform);
    let _ = writeln!(text, "        in use settings ={{{mode}{udp}, }}");
    let _ = writeln!(
        text,
        "        conn id: {0}, flow_id: SW:{0}, sibling_flags 80000040, crypto map: {map}",
        sa.connection_id
    );
    let _ = match sa.kilobytes_left {
        Some(left) => {
            writeln!(text, "        sa timing: remaining key lifetime (k/sec): ({left}/{})", sa.seconds_left)
        }
        None => writeln!(text, "        sa timing: remaining key lifetime (sec): {}", sa.seconds_left),
    };
    let _ = writeln!(text, "        IV size: {} bytes", sa.iv_size);
    let _ = match (sa.replay_window, detail) {
        (None, _) => writeln!(text, "        replay detection support: N"),
        (Some(_), false) => writeln!(text, "        replay detection support: Y"),
        (Some(window), true) => {
            writeln!(text, "        replay detection support: Y  replay window size: {window}")
        }
    };
    text.push_str("        Status: ACTIVE(ACTIVE)\n");
}

/// `show crypto ipsec sa count`.
pub fn ipsec_sa_count(total: usize, rekeying: usize) -> String {
    format!("IPsec SA total: {total}, active: {total}, rekeying: {rekeying}, unused: 0, invalid: 0\n")
}
