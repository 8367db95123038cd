//! Show commands specific to tohub: `show tohub peers` and `show tohub dataplane`.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

/// One peer of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerStatusView {
    /// Address or host name as configured.
    pub name: String,
    /// Address in use, if known.
    pub address: Option<String>,
    /// `set peer … default`.
    pub default: bool,
    /// The cursor is on this peer.
    pub current: bool,
    /// `idle`, `resolving`, `negotiating`, `up`, `probing`, `dead`.
    pub state: String,
    /// IPsec SA pairs with it.
    pub sas: u32,
    /// Milliseconds since the last authenticated packet from it.
    pub last_heard_ms: Option<u64>,
    /// Why the peer may not work although it is up.
    pub suspicious: Option<String>,
}

/// The peers of one crypto-map entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryPeersView {
    /// Map set.
    pub map: String,
    /// Sequence number; from 65536 on a temporary entry of a dynamic map.
    pub seq: u32,
    /// Interface that the set is applied to.
    pub interface: Option<String>,
    /// `idle`, `initiating`, `up`, `exhausted`, `incomplete`, `refused`.
    pub state: String,
    /// The last reason of a cursor movement (`dpd`, `init-fail`, `idle-default`, `peer-heard`,
    /// `config`, `clear`).
    pub last_reason: Option<String>,
    /// Number of cursor movements.
    pub changes: u64,
    /// Why an entry is rejected, with the remedy.
    pub refusal: Option<String>,
    /// Why and where the traffic of the entry is dropped instead of protected.
    pub closed: Vec<String>,
    /// Idle timer in seconds.
    pub idle_seconds: Option<u32>,
    /// `idle-time … default`.
    pub idle_to_default: bool,
    /// Milliseconds without a packet in either direction.
    pub idle_for_ms: Option<u64>,
    /// Peers in the order of trial.
    pub peers: Vec<PeerStatusView>,
}

/// `show tohub peers`; the JSON form is this struct.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeersView {
    /// Entries in the order of maps and sequence numbers.
    pub entries: Vec<EntryPeersView>,
}

/// `show tohub peers`.
pub fn peers(view: &PeersView) -> String {
    let mut text = String::new();
    for entry in &view.entries {
        let _ = write!(text, "Crypto map \"{}\" {}", entry.map, entry.seq);
        if let Some(interface) = &entry.interface {
            let _ = write!(text, " on {interface}");
        }
        let _ = writeln!(text, ": {}", entry.state);
        if let Some(refusal) = &entry.refusal {
            let _ = writeln!(text, "  refused: {refusal}");
        }
        for why in &entry.closed {
            let _ = writeln!(text, "  closed: {why}");
        }
        if let Some(seconds) = entry.idle_seconds {
            let goal = if entry.idle_to_default { ", then the default peer" } else { "" };
            let _ = write!(text, "  idle time {seconds} s{goal}");
            let _ = match entry.idle_for_ms {
                Some(ms) => writeln!(text, "; idle for {}", span(ms)),
                None => writeln!(text),
            };
        }
        if entry.changes > 0 {
            let reason = entry.last_reason.as_deref().unwrap_or("unknown");
            let _ = writeln!(text, "  peer changes: {}, last reason {reason}", entry.changes);
        }
        text.push_str("    Peer                                     State        SAs  Last heard\n");
        for peer in &entry.peers {
            let mark = if peer.current { '*' } else { ' ' };
            let mut name = peer.name.clone();
            match &peer.address {
                Some(address) if *address != peer.name => {
                    let _ = write!(name, " ({address})");
                }
                _ => {}
            }
            name.push_str(if peer.default { " default" } else { "" });
            let heard = peer.last_heard_ms.map_or("never".into(), |ms| format!("{} ago", span(ms)));
            let _ = writeln!(text, "  {mark} {name:<40} {:<12} {:>3}  {heard}", peer.state, peer.sas);
            if let Some(reason) = &peer.suspicious {
                let _ = writeln!(text, "      suspicious: {reason}");
            }
        }
    }
    if text.is_empty() { "No crypto map entry is configured\n".into() } else { text }
}

fn span(ms: u64) -> String {
    match ms {
        0..=9_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} s", ms / 1000),
    }
}

/// `show tohub dataplane`: the status document of the data plane as an indented outline. Lists of
/// objects with equal keys are printed as tables; drop counters of zero are omitted.
pub fn dataplane(status: &Value) -> String {
    let mut text = String::new();
    outline(&mut text, status, 0, "");
    text
}

fn outline(text: &mut String, value: &Value, depth: usize, name: &str) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let label = key.replace('_', " ");
                match value {
                    Value::Object(inner) if inner.is_empty() => {}
                    Value::Array(items) if items.is_empty() => {}
                    Value::Object(_) | Value::Array(_) => {
                        let _ = writeln!(text, "{pad}{label}:");
                        outline(text, value, depth + 1, key);
                    }
                    Value::Number(number) if name == "drops" && number.as_u64() == Some(0) => {}
                    _ => {
                        let _ = writeln!(text, "{pad}{label}: {}", scalar(value));
                    }
                }
            }
        }
        Value::Array(items) => match table_columns(items) {
            Some(columns) => table(text, &pad, &columns, items),
            None => {
                for item in items {
                    match item {
                        Value::Object(_) | Value::Array(_) => {
                            let _ = writeln!(text, "{pad}-");
                            outline(text, item, depth + 1, name);
                        }
                        _ => {
                            let _ = writeln!(text, "{pad}{}", scalar(item));
                        }
                    }
                }
            }
        },
        _ => {
            let _ = writeln!(text, "{pad}{}", scalar(value));
        }
    }
}

/// The common keys of a list of flat objects.
fn table_columns(items: &[Value]) -> Option<Vec<&str>> {
    let flat = |value: &Value| !matches!(value, Value::Object(_) | Value::Array(_));
    let first: Vec<&str> = items.first()?.as_object()?.keys().map(String::as_str).collect();
    let same = items.iter().all(|item| {
        item.as_object().is_some_and(|map| map.keys().eq(first.iter().copied()) && map.values().all(flat))
    });
    same.then_some(first)
}

fn table(text: &mut String, pad: &str, columns: &[&str], items: &[Value]) {
    let cell = |item: &Value, column: &str| item.get(column).map(scalar).unwrap_or_default();
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            items.iter().map(|item| cell(item, column).len()).chain([column.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut row = |cells: Vec<String>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{pad}{}", padded.join("  ").trim_end());
    };
    row(columns.iter().map(|column| column.replace('_', " ")).collect());
    for item in items {
        row(columns.iter().map(|column| cell(item, column)).collect());
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_and_the_default_peer_are_marked() {
        let peer = |name: &str, default, current, state: &str| PeerStatusView {
            name: name.into(),
            address: Some(name.into()),
            default,
            current,
            state: state.into(),
            sas: u32::from(current),
            last_heard_ms: current.then_some(1_234),
            suspicious: current.then(|| "it answers IKE and returns no ESP".into()),
        };
        let entry = EntryPeersView {
            map: "tohub".into(),
            seq: 1,
            interface: Some("GigabitEthernet0/1".into()),
            state: "up".into(),
            last_reason: Some("dpd".into()),
            changes: 2,
            refusal: None,
            closed: Vec::new(),
            idle_seconds: Some(120),
            idle_to_default: true,
            idle_for_ms: Some(500),
            peers: vec![peer("10.1.1.1", true, false, "idle"), peer("10.2.2.2", false, true, "up")],
        };
        let text = peers(&PeersView { entries: vec![entry] });
        assert!(text.starts_with("Crypto map \"tohub\" 1 on GigabitEthernet0/1: up\n"), "{text}");
        assert!(text.contains("    10.1.1.1 default "), "{text}");
        assert!(text.contains("  * 10.2.2.2 "), "{text}");
        assert!(text.contains("1.2 s ago"), "{text}");
        assert_eq!(text.matches("suspicious: it answers IKE").count(), 1, "{text}");
        assert!(text.contains("idle time 120 s, then the default peer; idle for 0.5 s"), "{text}");
    }

    #[test]
    fn the_status_document_becomes_an_outline_with_tables() {
        let status = serde_json::json!({
            "state": "ready",
            "drops": {"no_sa": 0, "replayed": 3},
            "workers": [{"id": 0, "rx": 10}, {"id": 1, "rx": 2000}],
        });
        let text = dataplane(&status);
        assert!(text.contains("state: ready\n"), "{text}");
        assert!(text.contains("  replayed: 3\n") && !text.contains("no sa"), "{text}");
        assert!(text.contains("workers:\n  id  rx\n  0   10\n  1   2000\n"), "{text}");
    }
}
