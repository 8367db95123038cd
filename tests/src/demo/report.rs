//! The table at the end.

use lab::probe::{Count, Probe};

use crate::prediction::Pair;

/// A phase of the demo.
#[derive(Debug)]
pub struct Phase {
    /// Its description.
    pub name: &'static str,
    /// Start and end, in milliseconds of the laboratory's clock.
    pub span: (u64, u64),
}

/// The results of a run.
#[derive(Debug)]
pub struct Report {
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Detection and outage, predicted and measured.
    pub predicted: Vec<Pair>,
    /// Clear packets on the internet.
    pub clear_packets: usize,
    /// ESP packets on the internet.
    pub esp_packets: usize,
    /// Packets lost by the captures.
    pub capture_dropped: u64,
}

impl Report {
    /// Prints it. Times are real; multiplied by `scale` they are what unscaled timers would give.
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a demo fit a double")]
    pub fn print(&self, probe: &Probe, scale: u32) {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        println!();
        println!("  {:<44} {:>8} {:>7} {:>6}", "phase", "seconds", "sent", "lost");
        for Phase { name, span: (from, to) } in &self.phases {
            let Count { sent, lost } = probe.count(*from, *to);
            println!("  {name:<44} {:>8.2} {sent:>7} {lost:>6}", seconds(to - from));
        }
        println!();
        for pair in &self.predicted {
            println!("  {pair}");
        }
        if scale > 1 {
            let full = |pair: &Pair| seconds(pair.measured * u64::from(scale));
            for pair in &self.predicted {
                println!("  {:<44} {:>8.1} s at full-length timers", pair.name, full(pair));
            }
        }
        println!("  {:<44} {:>8}", "ESP packets on the internet", self.esp_packets);
        println!("  {:<44} {:>8}", "clear-text packets on the internet", self.clear_packets);
        println!("  {:<44} {:>8}", "packets that the capture missed", self.capture_dropped);
        println!();
    }
}
