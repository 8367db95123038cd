//! A self-contained HTML page with the timeline as a chart and as a table. It loads nothing
//! external.

use std::fmt::Write as _;

use super::text::duration;
use super::{Kind, Prediction};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 130.0;
const LANE: f64 = 34.0;
const TOP: f64 = 40.0;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2430; background: #fff; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: currentColor; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .7rem .2rem 0; vertical-align: top; }
td.t { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
tr.event td { font-weight: 600; } .why { opacity: .7; }
.up { fill: #2e7d5b; } .down { fill: #c0392b; } .tunnel { fill: #3565a8; } .grid { stroke: currentColor; opacity: .15; }
.event { stroke: #b26a00; stroke-dasharray: 4 3; } .dead { stroke: #c0392b; stroke-width: 2; }
@media (prefers-color-scheme: dark) { body { color: #e6e9ee; background: #14181f; } .up { fill: #4fb286; } .tunnel { fill: #6d9be0; } .down { fill: #e0665a; } }
";

/// Escapes text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn render(prediction: &Prediction) -> String {
    let title = format!("What {} will do", escape(&prediction.hostname));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    let out = &mut page;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<p>{} sent, {} answered, over {}.</p>",
        prediction.sent,
        prediction.answered,
        duration(prediction.duration_ms)
    );
    picture(out, prediction);
    figures(out, prediction);
    out.push_str("<h2>Timeline</h2>\n<table>\n<tr><th class=\"t\">time</th><th>what</th><th>why</th></tr>\n");
    for moment in &prediction.timeline {
        let class = if moment.kind == Kind::Event { " class=\"event\"" } else { "" };
        let _ = writeln!(
            out,
            "<tr{class}><td class=\"t\">{:.3} s</td><td>{}</td><td class=\"why\">{}</td></tr>",
            moment.at_ms as f64 / 1000.0,
            escape(&moment.text),
            escape(moment.why.as_deref().unwrap_or_default())
        );
    }
    out.push_str("</table>\n<h2>Assumed</h2>\n<ul>\n");
    for assumption in &prediction.assumptions {
        let _ = writeln!(out, "<li>{}</li>", escape(assumption));
    }
    out.push_str("</ul>\n</body>\n</html>\n");
    page
}

fn figures(out: &mut String, prediction: &Prediction) {
    out.push_str("<h2>Figures</h2>\n<table>\n");
    for detection in &prediction.detections {
        let after = detection.after_ms.map_or_else(|| "without an event".to_owned(), duration);
        let _ = writeln!(out, "<tr><td>detection of {}</td><td>{after}</td></tr>", escape(&detection.peer));
    }
    for outage in &prediction.outages {
        let length = outage.to_ms.map_or_else(|| "to the end".to_owned(), |to| duration(to - outage.from_ms));
        let _ = writeln!(
            out,
            "<tr><td>outage from {}</td><td>{length}, {} packets lost</td></tr>",
            duration(outage.from_ms),
            outage.lost
        );
    }
    out.push_str("</table>\n");
}

fn picture(out: &mut String, prediction: &Prediction) {
    let span = prediction.duration_ms.max(1) as f64;
    let x = |ms: u64| LEFT + ms as f64 / span * (WIDTH - LEFT - 10.0);
    let lanes = prediction.peers.len() + 1;
    let bottom = TOP + LANE * lanes as f64;
    let height = bottom + 30.0;
    let _ = writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">");
    for tick in 0..=10u64 {
        let at = prediction.duration_ms * tick / 10;
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text x=\"{0:.1}\" y=\"{1}\" text-anchor=\"middle\">{2} s</text>",
            x(at),
            bottom + 18.0,
            at / 1000
        );
    }
    let mut bar = |lane: usize, class: &str, from: u64, to: u64, title: &str| {
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"20\" rx=\"3\"><title>{}</title></rect>",
            x(from),
            TOP + LANE * lane as f64 + 7.0,
            (x(to) - x(from)).max(2.0),
            escape(title)
        );
    };
    if let (Some(first), Some(last)) = (prediction.answers.first(), prediction.answers.last()) {
        bar(0, "up", *first, *last, "answered");
    }
    for outage in &prediction.outages {
        let to = outage.to_ms.unwrap_or(prediction.duration_ms);
        bar(0, "down", outage.from_ms, to, &format!("outage of {}", duration(to - outage.from_ms)));
    }
    for carried in &prediction.carried {
        if let Some(lane) = prediction.peers.iter().position(|peer| peer.name == carried.peer) {
            bar(lane + 1, "tunnel", carried.from_ms, carried.to_ms, &format!("tunnel to {}", carried.peer));
        }
    }
    let names = std::iter::once("traffic".to_owned()).chain(
        prediction
            .peers
            .iter()
            .map(|peer| if peer.default { format!("{} (default)", peer.name) } else { peer.name.clone() }),
    );
    for (lane, name) in names.enumerate() {
        let y = TOP + LANE * lane as f64 + 22.0;
        let _ = writeln!(out, "<text x=\"0\" y=\"{y:.1}\">{}</text>", escape(&name));
    }
    for moment in &prediction.timeline {
        let class = match moment.kind {
            Kind::Event => "event",
            Kind::Detection => "dead",
            _ => continue,
        };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1}\" y2=\"{bottom}\"><title>{2}</title></line>",
            x(moment.at_ms),
            TOP - 12.0,
            escape(&moment.text)
        );
    }
    out.push_str("</svg>\n");
}
