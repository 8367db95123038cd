//! `show crypto isakmp sa` and `show crypto ikev2 sa`.

use std::fmt::Write;
use std::net::IpAddr;

/// A row of `show crypto isakmp sa`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpSaView {
    /// Responder.
    pub destination: IpAddr,
    /// Initiator.
    pub source: IpAddr,
    /// `QM_IDLE`, `MM_NO_STATE` …
    pub state: String,
    /// Connection id, from 1001.
    pub connection_id: u32,
    /// True once deleted: `ACTIVE (deleted)`.
    pub deleted: bool,
    /// `aes`.
    pub encryption: String,
    /// `sha256`.
    pub hash: String,
    /// `psk` or `rsig`.
    pub authentication: String,
    /// Group number.
    pub group: u16,
    /// Seconds until the IKE SA's lifetime ends.
    pub lifetime_left: u64,
    /// Capability letters (`D`, `N`, …).
    pub capabilities: String,
}

/// `show crypto isakmp sa [detail]`.
pub fn isakmp_sa(sas: &[IsakmpSaView], detail: bool) -> String {
    if detail { isakmp_sa_detail(sas) } else { isakmp_sa_brief(sas) }
}

fn isakmp_sa_brief(sas: &[IsakmpSaView]) -> String {
    let mut text = String::from(
        "IPv4 Crypto ISAKMP SA\ndst             src             state          conn-id status\n",
    );
    for sa in sas {
        let status = if sa.deleted { "ACTIVE (deleted)" } else { "ACTIVE" };
        let _ = writeln!(
            text,
            "{:<16}{:<16}{:<15}{:>7} {status}",
            sa.destination.to_string(),
            sa.source.to_string(),
            sa.state,
            sa.connection_id
        );
    }
    text + "\nIPv6 Crypto ISAKMP SA\n\n"
}

fn isakmp_sa_detail(sas: &[IsakmpSaView]) -> String {
    let mut text = String::from(concat!(
        "Codes: C - IKE configuration mode, D - Dead Peer Detection\n",
        "       K - Keepalives, N - NAT-traversal\n",
        "       T - cTCP encapsulation, X - IKE Extended Authentication\n",
        "       psk - Preshared key, rsig - RSA signature\n",
        "       renc - RSA encryption\n",
        "IPv4 Crypto ISAKMP SA\n\n",
        "C-id  Local           Remote          I-VRF  Status Encr Hash   Auth DH Lifetime Cap.\n\n",
    ));
    for (index, sa) in sas.iter().enumerate() {
        let _ = writeln!(
            text,
            "{:<6}{:<16}{:<16}{:<7}{:<7}{:<5}{:<7}{:<5}{:<3}{:<9}{:<4}",
            sa.connection_id,
            sa.source.to_string(),
            sa.destination.to_string(),
            "",
            "ACTIVE",
            sa.encryption,
            sa.hash,
            sa.authentication,
            sa.group,
            super::session::clock(sa.lifetime_left),
            sa.capabilities
        );
        let _ = writeln!(text, "       Engine-id:Conn-id =  SW:{}\n", index + 1);
    }
    if sas.is_empty() {
        text.push('\n');
    }
    text + "IPv6 Crypto ISAKMP SA\n\n"
}

/// An IKEv2 SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ikev2SaView {
    /// Small number of the SA, from 1.
    pub tunnel_id: u32,
    /// Own address and port.
    pub local: (IpAddr, u16),
    /// Peer's address and port.
    pub remote: (IpAddr, u16),
    /// `READY`, `IN-NEG`, `DELETE`.
    pub status: String,
    /// `AES-CBC` or `AES-GCM`.
    pub encryption: String,
    /// Key length in bits.
    pub key_size: u16,
    /// `SHA256` …
    pub prf: String,
    /// `SHA256` …, or `None` for combined ciphers.
    pub hash: String,
    /// Group number.
    pub group: u16,
    /// `PSK`, `RSA`, `ECDSA`.
    pub auth_sign: String,
    /// The same for the peer.
    pub auth_verify: String,
    /// Configured lifetime, seconds.
    pub lifetime: u32,
    /// Age, seconds.
    pub active: u64,
    /// Session number, from 1.
    pub session_id: u32,
    /// Own IKE SPI.
    pub local_spi: u64,
    /// Peer's IKE SPI.
    pub remote_spi: u64,
    /// `Negotiation done` …
    pub status_description: String,
    /// Own identity as text.
    pub local_id: String,
    /// Peer's identity as text.
    pub remote_id: String,
    /// Message ID of our last request and of our next one.
    pub local_message_id: u32,
    /// Message ID of the peer's next request.
    pub remote_message_id: u32,
    /// Window size, both ways.
    pub window: u8,
    /// Liveness: interval and retry, seconds.
    pub dpd: Option<(u16, u16)>,
    /// Negotiated IKE fragmentation.
    pub fragmentation: bool,
    /// A NAT was found on the way.
    pub nat: bool,
    /// We initiated it.
    pub initiator: bool,
}

/// `show crypto ikev2 sa [detailed]`.
pub fn ikev2_sa(sas: &[Ikev2SaView], detail: bool) -> String {
    let mut text = String::new();
    for (family, label) in [(4u8, "IPv4"), (6, "IPv6")] {
        let mut of_family =
            sas.iter().filter(|sa| if family == 4 { sa.local.0.is_ipv4() } else { sa.local.0.is_ipv6() });
        let _ = write!(text, " {label} Crypto IKEv2  SA \n\n");
        for sa in &mut of_family {
            text.push_str(
                "Tunnel-id Local                 Remote                fvrf/ivrf            Status \n",
            );
            one_ikev2_sa(&mut text, sa, detail);
            text.push('\n');
        }
    }
    text
}

fn one_ikev2_sa(text: &mut String, sa: &Ikev2SaView, detail: bool) {
    let local = format!("{}/{}", sa.local.0, sa.local.1);
    let remote = format!("{}/{}", sa.remote.0, sa.remote.1);
    let _ = writeln!(text, "{:<10}{local:<22}{remote:<22}{:<21}{}  ", sa.tunnel_id, "none/none", sa.status);
    let _ = writeln!(
        text,
        "      Encr: {}, keysize: {}, PRF: {}, Hash: {}, DH Grp:{}, Auth sign: {}, Auth verify: {}",
        sa.encryption, sa.key_size, sa.prf, sa.hash, sa.group, sa.auth_sign, sa.auth_verify
    );
    let _ = writeln!(text, "      Life/Active Time: {}/{} sec", sa.lifetime, sa.active);
    let _ = writeln!(text, "      CE id: {}, Session-id: {}", 1000 + sa.tunnel_id, sa.session_id);
    if detail {
        let _ = writeln!(text, "      Status Description: {}", sa.status_description);
    }
    let _ = writeln!(text, "      Local spi: {:016X}       Remote spi: {:016X}", sa.local_spi, sa.remote_spi);
    if !detail {
        return;
    }
    let (ours, theirs) = (sa.local_message_id, sa.remote_message_id);
    let _ = writeln!(text, "      Local id: {}\n      Remote id: {}", sa.local_id, sa.remote_id);
    for word in ["req msg id: ", "next msg id:", "req queued: "] {
        let _ = writeln!(text, "      Local {word} {ours:<14} Remote {word} {theirs}");
    }
    let _ = writeln!(text, "      Local window:      {:<14} Remote window:      {}", sa.window, sa.window);
    let _ = match sa.dpd {
        Some((interval, retry)) => {
            writeln!(text, "      DPD configured for {interval} seconds, retry {retry}")
        }
        None => writeln!(text, "      DPD configured for 0 seconds, retry 0"),
    };
    let _ = writeln!(text, "      Fragmentation {}configured.", if sa.fragmentation { "" } else { "not  " });
    text.push_str("      Extended Authentication not configured.\n");
    let _ = writeln!(text, "      NAT-T is {}detected", if sa.nat { "" } else { "not " });
    text.push_str("      Cisco Trust Security SGT is disabled\n");
    let _ = writeln!(text, "      Initiator of SA : {}", if sa.initiator { "Yes" } else { "No" });
}
