//! Compares the result of the dry run for the same configuration and events with the measured
//! values.

use std::fmt;

use lab::Result;
use lab::command::LabError;
use lab::failover::{HOST_A, HOST_B};
use simulation::predict::{Scenario, predict};

/// The moments of a run that the prediction needs, in milliseconds of the laboratory's clock.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Traffic begins.
    pub begin: u64,
    /// hub1 is cut off.
    pub cut: u64,
    /// hub1 returns.
    pub healed: u64,
    /// Traffic pauses.
    pub silence: u64,
    /// Traffic continues.
    pub resumed: u64,
    /// Traffic ends.
    pub end: u64,
    /// Interval of packets.
    pub interval: u32,
    /// Speed-up of the gateways' timers.
    pub scale: u32,
}

/// A figure, predicted and measured, in real milliseconds of this run.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Name.
    pub name: &'static str,
    /// Value of the dry run.
    pub predicted: u64,
    /// Measured value.
    pub measured: u64,
    /// Allowed difference.
    pub allowed: u64,
}

/// How far a figure may be from its prediction: 1 s or 5 %, whichever is more, of timers at full
/// length. The time for starting programs and polling is not scaled with the timers: 100 ms are
/// allowed for it if they are scaled.
fn allowed(predicted: u64, scale: u32) -> u64 {
    let scale = u64::from(scale);
    let full = (predicted * scale / 20).max(1000);
    full / scale + if scale > 1 { 100 } else { 0 }
}

impl Pair {
    fn new(name: &'static str, predicted: u64, measured: u64, scale: u32) -> Self {
        Self { name, predicted, measured, allowed: allowed(predicted, scale) }
    }

    /// Whether the difference is within the limit.
    pub fn agrees(&self) -> bool {
        self.predicted.abs_diff(self.measured) <= self.allowed
    }
}

impl fmt::Display for Pair {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a demo fit a double")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        write!(
            f,
            "{:<44} {:>8.2} s predicted, {:.2} s measured ({:.2} s apart, {:.2} s allowed)",
            self.name,
            seconds(self.predicted),
            seconds(self.measured),
            seconds(self.predicted.abs_diff(self.measured)),
            seconds(self.allowed)
        )
    }
}

/// Predicts the detection and the outage of a run.
pub fn compare(configuration: &str, run: &Run, detection: u64, outage: u64) -> Result<Vec<Pair>> {
    let scale = u64::from(run.scale);
    // The control plane's clock, in which the configured values are given.
    let at = |real: u64| real.saturating_sub(run.begin) * scale;
    let events =
        [format!("t={}ms down 10.1.1.1", at(run.cut)), format!("t={}ms up 10.1.1.1", at(run.healed))];
    let every = u64::from(run.interval) * scale;
    let traffic = [(run.begin, run.silence), (run.resumed, run.end)].map(|(from, to)| {
        format!("udp every {every}ms {}ms..{}ms from {HOST_A} to {HOST_B}", at(from), at(to))
    });
    let failed = |error: &dyn fmt::Display| LabError::Unexpected(format!("the dry run: {error}"));
    let scenario = Scenario::parse(
        configuration,
        &events.each_ref().map(String::as_str),
        &traffic.each_ref().map(String::as_str),
    )
    .map_err(|error| failed(&error))?;
    let prediction = predict(&scenario).map_err(|error| failed(&error))?;
    let predicted_detection = prediction
        .detection_ms("10.1.1.1", at(run.cut))
        .ok_or_else(|| failed(&"it does not find hub1 dead"))?;
    let predicted_outage = prediction
        .longest_silence_ms(at(run.cut), at(run.healed))
        .ok_or_else(|| failed(&"it knows no answered packets"))?;
    Ok(vec![
        Pair::new("detection (cut to peer declared dead)", predicted_detection / scale, detection, run.scale),
        Pair::new("outage (longest time without an answer)", predicted_outage / scale, outage, run.scale),
    ])
}

#[cfg(test)]
mod tests {
    use lab::failover::{Options, branch_configuration};

    use super::*;

    #[test]
    fn a_second_or_a_twentieth_is_allowed_and_less_where_timers_run_faster() {
        assert_eq!(allowed(10_000, 1), 1000);
        assert_eq!(allowed(40_000, 1), 2000);
        assert_eq!(allowed(4_000, 10), 300);
        assert!(Pair::new("x", 22_000, 23_100, 1).agrees());
        assert!(!Pair::new("x", 22_000, 23_101, 1).agrees());
    }

    #[test]
    fn the_main_job_is_predicted_from_the_laboratory_s_own_configuration() {
        let run = Run {
            begin: 5_000,
            cut: 6_000,
            healed: 12_000,
            silence: 13_000,
            resumed: 20_500,
            end: 22_000,
            interval: 20,
            scale: 10,
        };
        let configuration = branch_configuration(&Options::default());
        let pairs = compare(&configuration, &run, 2_200, 3_200).unwrap();
        assert!(pairs.iter().all(Pair::agrees), "{pairs:?}");
        let wrong = compare(&configuration, &run, 1_500, 6_000).unwrap();
        assert!(!wrong.iter().any(Pair::agrees), "{wrong:?}");
    }
}
