//! Results as a table and as JSON, and a measure of the noise of the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::clock::{Clock, cpu};

/// One benchmark's results.
pub struct Report {
    name: &'static str,
    clock: Clock,
    lines: Vec<Map<String, Value>>,
    targets: Vec<Target>,
    disturbed: Vec<f64>,
}

/// A figure that must not exceed a bound.
struct Target {
    what: String,
    value: f64,
    bound: f64,
}

impl Report {
    /// Calibrates the clock and prints the CPU.
    pub fn start(name: &'static str) -> Self {
        let clock = Clock::measure();
        println!(
            "{name}: {}, counter {:.3} GHz, core {:.2} GHz, load {}",
            cpu(),
            clock.ticks_per_second / 1e9,
            clock.ticks_per_second / clock.ticks_per_cycle / 1e9,
            load()
        );
        Report { name, clock, lines: Vec::new(), targets: Vec::new(), disturbed: Vec::new() }
    }

    /// The rates measured at the start.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Adds a line of named figures and records the share of disturbed windows.
    pub fn line(&mut self, fields: Value, disturbed: f64) {
        if let Value::Object(fields) = fields {
            self.lines.push(fields);
        }
        self.disturbed.push(disturbed);
    }

    /// Adds a target: `value` must be at most `bound`.
    pub fn target(&mut self, what: impl Into<String>, value: f64, bound: f64) {
        self.targets.push(Target { what: what.into(), value, bound });
    }

    /// Prints the noise report and the targets, writes `target/bench/NAME.json` under the
    /// workspace, and as its last line how many targets were met.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        let now = Clock::measure();
        let drift = (now.ticks_per_cycle / self.clock.ticks_per_cycle - 1.0).abs();
        let disturbed = self.disturbed.iter().sum::<f64>() / self.disturbed.len().max(1) as f64;
        let noisy = drift > 0.03 || disturbed > 0.25;
        println!(
            "\nnoise: {:.0} % of the windows took over 1.25 times the best, the core's clock moved by {:.1} %, load {}: {}",
            100.0 * disturbed,
            100.0 * drift,
            load(),
            if noisy { "NOISY, trust best windows and ratios only" } else { "quiet" }
        );
        let met = self.targets.iter().filter(|target| target.value <= target.bound).count();
        for target in &self.targets {
            let verdict = if target.value <= target.bound { "met   " } else { "MISSED" };
            println!("{verdict} {}: {:.2}, at most {:.2}", target.what, target.value, target.bound);
        }
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|target| json!({ "what": target.what, "value": target.value, "bound": target.bound }))
            .collect();
        let json = json!({
            "cpu": cpu(),
            "ticks_per_second": self.clock.ticks_per_second,
            "ticks_per_cycle": self.clock.ticks_per_cycle,
            "noisy": noisy,
            "disturbed_windows": disturbed,
            "clock_drift": drift,
            "targets": targets,
            "lines": self.lines,
        });
        let path = target_folder().join("bench").join(format!("{}.json", self.name));
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&path, serde_json::to_string_pretty(&json)?)?;
        println!("{}", path.display());
        println!("bench-{}: targets {met}/{} met", self.name, self.targets.len());
        Ok(())
    }
}

/// `target` of the workspace, whatever the target directory of the build.
fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join("target")
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}
