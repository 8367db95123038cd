//! The timeline as text for a terminal.

use std::fmt::Write as _;

use super::{Kind, Prediction};

/// Seconds with three decimals, or minutes for long times.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1000 {
        0..600 => format!("{}.{:03} s", ms / 1000, ms % 1000),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

pub(super) fn render(prediction: &Prediction) -> String {
    let mut text = String::new();
    let out = &mut text;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "prediction for {} over {}", prediction.hostname, duration(prediction.duration_ms));
    for peer in &prediction.peers {
        let default = if peer.default { " (default)" } else { "" };
        let address = if peer.name == peer.address.to_string() {
            String::new()
        } else {
            format!(" at {}", peer.address)
        };
        let _ = writeln!(out, "  peer {}{address}{default}", peer.name);
    }
    for assumption in &prediction.assumptions {
        let _ = writeln!(out, "  assumed: {assumption}");
    }
    out.push('\n');
    for moment in &prediction.timeline {
        let mark = match moment.kind {
            Kind::Event => "==",
            Kind::Traffic => "!!",
            Kind::Detection | Kind::Cursor => "->",
            Kind::Tunnel => "**",
            Kind::Attempt | Kind::Note => "  ",
        };
        let seconds = moment.at_ms as f64 / 1000.0;
        let _ = write!(out, "{seconds:>10.3} s {mark} {}", moment.text);
        if let Some(why) = &moment.why {
            let _ = write!(out, " -- {why}");
        }
        out.push('\n');
    }
    out.push('\n');
    for detection in &prediction.detections {
        let since = detection
            .after_ms
            .map_or_else(String::new, |ms| format!(", {} after it went down", duration(ms)));
        let _ = writeln!(out, "detection: {} at {}{since}", detection.peer, duration(detection.at_ms));
    }
    for outage in &prediction.outages {
        let length = outage.to_ms.map_or_else(
            || "to the end".to_owned(),
            |to| format!("to {}: {}", duration(to), duration(to - outage.from_ms)),
        );
        let _ = writeln!(out, "outage: {} {length}, {} packets lost", duration(outage.from_ms), outage.lost);
    }
    for carried in &prediction.carried {
        let (from, to) = (duration(carried.from_ms), duration(carried.to_ms));
        let _ = writeln!(out, "tunnel: {} from {from} to {to}", carried.peer);
    }
    let _ = writeln!(out, "packets: {} sent, {} answered", prediction.sent, prediction.answered);
    text
}
