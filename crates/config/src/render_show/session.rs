//! `show crypto session`.

use std::fmt::Write;
use std::net::IpAddr;

use super::Ident;

/// The five states of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// IKE and IPsec SAs are up.
    UpActive,
    /// Only the IKE SA is up.
    UpIdle,
    /// Only IPsec SAs are up.
    UpNoIke,
    /// Being negotiated.
    DownNegotiating,
    /// No SA.
    Down,
}

impl SessionStatus {
    /// The state as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpActive => "UP-ACTIVE",
            Self::UpIdle => "UP-IDLE",
            Self::UpNoIke => "UP-NO-IKE",
            Self::DownNegotiating => "DOWN-NEGOTIATING",
            Self::Down => "DOWN",
        }
    }
}

/// The IKE SA of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSessionView {
    /// IKE version, 1 or 2.
    pub version: u8,
    /// Own address and port.
    pub local: (IpAddr, u16),
    /// Peer's address and port.
    pub remote: (IpAddr, u16),
    /// True when established.
    pub active: bool,
    /// Capability letters: `D` liveness, `N` NAT traversal, `F` fragmentation; `(none)` when empty.
    pub capabilities: String,
    /// Connection id.
    pub connection_id: u32,
    /// Seconds left of its lifetime.
    pub lifetime_left: u64,
}

/// Remaining lifetime and counters of an SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLife {
    /// Packets.
    pub packets: u64,
    /// Drops.
    pub drops: u64,
    /// Kilobytes left, `None` when unlimited.
    pub kilobytes_left: Option<u64>,
    /// Seconds left.
    pub seconds_left: u64,
}

/// One protected flow of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFlowView {
    /// Local proxy.
    pub local: Ident,
    /// Remote proxy.
    pub remote: Ident,
    /// IPsec SAs, both directions.
    pub active_sas: u32,
    /// Made from a dynamic map.
    pub dynamic: bool,
    /// Inbound.
    pub inbound: FlowLife,
    /// Outbound.
    pub outbound: FlowLife,
}

/// One session: an interface and a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// IOS name of the interface.
    pub interface: String,
    /// Seconds since it came up.
    pub uptime: Option<u64>,
    /// State.
    pub status: SessionStatus,
    /// Peer and port.
    pub peer: (IpAddr, u16),
    /// The peer's identity.
    pub phase1_id: Option<String>,
    /// The entry's description.
    pub description: Option<String>,
    /// The IKE SA.
    pub ike: Option<IkeSessionView>,
    /// Flows.
    pub flows: Vec<SessionFlowView>,
}

/// `show crypto session [detail] [brief]`.
pub fn crypto_session(sessions: &[SessionView], detail: bool, brief: bool) -> String {
    let mut text = String::from("Crypto session current status\n\n");
    if brief {
        return brief_table(sessions);
    }
    if detail {
        text.push_str(concat!(
            "Code: C - IKE Configuration mode, D - Dead Peer Detection     \n",
            "K - Keepalives, N - NAT-traversal, T - cTCP encapsulation     \n",
            "X - IKE Extended Authentication, F - IKE Fragmentation\n",
            "R - IKE Auto Reconnect, U - IKE Dynamic Route Update\n",
            "S - SIP VPN\n\n",
        ));
    }
    for session in sessions {
        one_session(&mut text, session, detail);
    }
    text
}

fn one_session(text: &mut String, session: &SessionView, detail: bool) {
    let _ = writeln!(text, "Interface: {}", session.interface);
    if let (true, Some(uptime)) = (detail, session.uptime) {
        let _ = writeln!(text, "Uptime: {}", uptime_text(uptime));
    }
    let _ = writeln!(text, "Session status: {}     ", session.status.as_str());
    let (peer, port) = session.peer;
    if detail {
        let _ = writeln!(text, "Peer: {peer} port {port} fvrf: (none) ivrf: (none)");
        let _ = writeln!(text, "      Phase1_id: {}", session.phase1_id.as_deref().unwrap_or("(none)"));
        let _ = writeln!(text, "      Desc: {}", session.description.as_deref().unwrap_or("(none)"));
    } else {
        let _ = writeln!(text, "Peer: {peer} port {port} ");
    }
    if let Some(ike) = &session.ike {
        let state = if ike.active { "Active" } else { "Inactive" };
        let version = if ike.version == 1 { "IKEv1" } else { "IKEv2" };
        let _ = writeln!(
            text,
            "  Session ID: 0  \n  {version} SA: local {}/{} remote {}/{} {state} ",
            ike.local.0, ike.local.1, ike.remote.0, ike.remote.1
        );
        if detail {
            let letters = if ike.capabilities.is_empty() { "(none)" } else { &ike.capabilities };
            let (connection, left) = (ike.connection_id, clock(ike.lifetime_left));
            let _ = writeln!(text, "          Capabilities:{letters} connid:{connection} lifetime:{left}");
        }
    }
    for flow in &session.flows {
        let _ = writeln!(text, "  IPSEC FLOW: permit {} ", flow_text(flow));
        let origin = if flow.dynamic { "dynamic crypto map" } else { "crypto map" };
        let _ = writeln!(text, "        Active SAs: {}, origin: {origin}", flow.active_sas);
        if detail {
            let life = |l: &FlowLife| match l.kilobytes_left {
                Some(left) => format!("drop {} life (KB/Sec) {left}/{}", l.drops, l.seconds_left),
                None => format!("drop {} life (KB/Sec) 0/{}", l.drops, l.seconds_left),
            };
            let _ = writeln!(
                text,
                "        Inbound:  #pkts dec'ed {} {}",
                flow.inbound.packets,
                life(&flow.inbound)
            );
            let _ = writeln!(
                text,
                "        Outbound: #pkts enc'ed {} {}",
                flow.outbound.packets,
                life(&flow.outbound)
            );
        }
    }
    text.push('\n');
}

fn brief_table(sessions: &[SessionView]) -> String {
    let mut text = String::from(concat!(
        "Status: A- Active, U - Up, D - Down, I - Idle, S - Standby, N - Negotiating\n",
        "        K - No IKE\n",
        "ivrf = (none)\n",
        "Peer               I/F            Username        Group/Phase1_id         Uptime   Status\n",
    ));
    for session in sessions {
        let status = match session.status {
            SessionStatus::UpActive => "UA",
            SessionStatus::UpIdle => "UI",
            SessionStatus::UpNoIke => "UK",
            SessionStatus::DownNegotiating => "DN",
            SessionStatus::Down => "D",
        };
        let peer = session.peer.0.to_string();
        let (id, uptime) =
            (session.phase1_id.as_deref().unwrap_or(""), uptime_text(session.uptime.unwrap_or(0)));
        let _ = writeln!(
            text,
            "{peer:<18} {:<14} {:<15} {id:<21} {uptime:>10} {status:>4}",
            session.interface, ""
        );
    }
    text
}

/// `ip A/M A/M`, `host` for a single address; with protocol and ports where the flow has them.
fn flow_text(flow: &SessionFlowView) -> String {
    let side = |ident: &Ident| {
        let full = if ident.address.is_ipv4() { 32 } else { 128 };
        let mut text = match ident.address {
            _ if ident.length == full => format!("host {}", ident.address),
            IpAddr::V4(a) => format!("{a}/{}", crate::model::Prefix::mask(ident.length)),
            IpAddr::V6(a) => format!("{a}/{}", ident.length),
        };
        if ident.port != 0 {
            let _ = write!(text, " port {}", ident.port);
        }
        text
    };
    let protocol = match flow.local.protocol {
        0 => if flow.local.address.is_ipv4() { "ip" } else { "ipv6" }.into(),
        number => number.to_string(),
    };
    format!("{protocol} {} {}", side(&flow.local), side(&flow.remote))
}

/// `hh:mm:ss`.
pub(super) fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `hh:mm:ss`, `1d02h`, `3w4d`, as IOS shortens times.
fn uptime_text(seconds: u64) -> String {
    let (hours, days) = (seconds / 3600, seconds / 86_400);
    match days {
        0 => clock(seconds),
        1..=6 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{}w{}d", days / 7, days % 7),
    }
}
