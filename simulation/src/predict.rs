//! Predictions: a configuration, events and traffic produce the timeline of a gateway, within
//! milliseconds of real time.
//!
//! The gateway runs the real control plane under the virtual clock. Each configured peer address
//! belongs to a gateway with the mirrored configuration ([`mirror`]). The delay between them is 20
//! to 25 milliseconds in each direction, and there are no faults besides the given events. The
//! results therefore follow from the rules and the timers alone.
//!
//! ```
//! use simulation::predict::{Scenario, predict};
//!
//! let text = std::fs::read_to_string("../examples/branch.cfg").unwrap();
//! let scenario = Scenario::parse(
//!     &text,
//!     &["t=30s down 10.1.1.1", "t=200s up 10.1.1.1"],
//!     &["icmp every 1s 0s..300s"],
//! )
//! .unwrap();
//! let prediction = predict(&scenario).unwrap();
//! let detection = prediction.detection_ms("10.1.1.1", 30_000).unwrap();
//! assert!((20_000..=23_000).contains(&detection));
//! let outage = prediction.longest_silence_ms(30_000, 200_000).unwrap();
//! assert!(outage > detection);
//! ```

mod events;
mod html;
mod mirror;
mod prediction;
mod text;
mod traffic;

use std::collections::BTreeMap;
use std::time::Duration;

use config::Configuration;
use config::command::{ClearCommand, Filter};
use config::edit::Offline;

use crate::crypto::CHEAP;
use crate::network::{Network, ORIGIN, Sabotage, SimulationError};
use crate::random::Stream;

pub use events::{Event, What, parse_event};
pub use mirror::Mirrored;
pub use prediction::{Carried, Detection, Kind, Moment, Outage, PeerFact, Prediction};
pub use traffic::{Traffic, parse_traffic};

/// The input of a prediction.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The gateway's configuration.
    pub configuration: Configuration,
    /// Events at its peers and at the gateway.
    pub events: Vec<Event>,
    /// Traffic of the hosts behind it.
    pub traffic: Vec<Traffic>,
}

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The configuration is refused.
    #[error("{0}")]
    Configuration(String),
    /// An event cannot be parsed.
    #[error(
        "event \"{text}\": {reason}; write it like \"t=10s down 10.1.1.1\" (down, up, restart PEER, or clear)"
    )]
    Event {
        /// The input.
        text: String,
        /// The error.
        reason: String,
    },
    /// Traffic cannot be parsed.
    #[error(
        "traffic \"{text}\": {reason}; write it like \"icmp every 1s 0s..400s\" or \"udp every 20ms 5s..1m from A to B\""
    )]
    Traffic {
        /// The input.
        text: String,
        /// The error.
        reason: String,
    },
    /// An event names a peer that is not configured.
    #[error("the configuration has no peer {name}; it has {known}")]
    UnknownPeer {
        /// The input.
        name: String,
        /// The configured peers.
        known: String,
    },
    /// There is nothing to simulate.
    #[error("{0}")]
    Nothing(String),
    /// The simulation failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

impl Scenario {
    /// Parses all three parts.
    ///
    /// # Errors
    /// A part that cannot be parsed, with a remedy.
    pub fn parse(configuration: &str, events: &[&str], traffic: &[&str]) -> Result<Self, PredictError> {
        let loaded = config::file::parse("configuration", configuration, &mut Offline)
            .map_err(|error| PredictError::Configuration(error.to_string()))?;
        Ok(Scenario {
            configuration: loaded.configuration,
            events: events.iter().map(|text| parse_event(text)).collect::<Result<_, _>>()?,
            traffic: traffic.iter().map(|text| parse_traffic(text)).collect::<Result<_, _>>()?,
        })
    }

    fn end(&self) -> Duration {
        let events = self.events.iter().map(|event| event.at + Duration::from_secs(60));
        let traffic = self.traffic.iter().map(|traffic| traffic.to + Duration::from_secs(5));
        events.chain(traffic).max().unwrap_or(Duration::from_secs(60))
    }
}

/// Predicts the behaviour of the gateway.
///
/// # Errors
/// If the scenario cannot be simulated, with a remedy.
pub fn predict(scenario: &Scenario) -> Result<Prediction, PredictError> {
    let mut mirrored = mirror::mirror(&scenario.configuration)?;
    let peer_index = |name: &str| {
        let found = mirrored
            .peers
            .iter()
            .position(|peer| peer.name.eq_ignore_ascii_case(name) || name.parse() == Ok(peer.address));
        let known = mirrored.peers.iter().map(|peer| peer.name.clone()).collect::<Vec<_>>().join(", ");
        let index =
            found.and_then(|at| mirrored.addresses.iter().position(|a| *a == mirrored.peers[at].address));
        index.map(|index| index + 1).ok_or_else(|| PredictError::UnknownPeer { name: name.to_owned(), known })
    };
    let mut schedule: Vec<(u64, Step)> = Vec::new();
    for event in &scenario.events {
        let step = match &event.what {
            What::Down(name) => Step::Cut(peer_index(name)?, true),
            What::Up(name) => Step::Cut(peer_index(name)?, false),
            What::Restart(name) => Step::Restart(peer_index(name)?),
            What::Clear => Step::Clear,
        };
        schedule.push((millis(event.at), step));
    }

    let mut network = Network::new(mirrored.setups.clone(), &CHEAP, &Stream::new(1), Sabotage::None)?;
    network.zone = mirrored.zone.clone();
    network.timeline = Some(Vec::new());
    for traffic in &scenario.traffic {
        let tuple = traffic.tuple(&scenario.configuration)?;
        let flow = network.add_flow(0, tuple, true);
        schedule.push((millis(traffic.from), Step::Traffic(flow, millis(traffic.every))));
        schedule.push((millis(traffic.to), Step::Traffic(flow, 0)));
    }
    schedule.sort_by_key(|(at, _)| *at);
    network.start();

    let mut notes = Notes::default();
    let end = millis(scenario.end());
    for (at, step) in schedule {
        notes.run(&mut network, ORIGIN + at);
        match step {
            Step::Cut(gateway, cut) => network.wire.around(gateway, |link| link.cut = cut),
            Step::Restart(gateway) => network.reboot(gateway)?,
            Step::Clear => network.clear(0, &ClearCommand::Sessions(Filter::default())),
            Step::Traffic(flow, every) => network.set_interval(flow, every),
        }
    }
    notes.run(&mut network, ORIGIN + end);
    let remarks = network.timeline.take().unwrap_or_default().into_iter().filter_map(|line| {
        line.text.strip_prefix("%TOHUB-6-NOTE: ").map(|note| format!("{} says: {note}", line.who))
    });
    mirrored.assumptions.extend(remarks);
    Ok(assemble(scenario, mirrored, &network, notes, end))
}

enum Step {
    Cut(usize, bool),
    Restart(usize),
    Clear,
    Traffic(usize, u64),
}

/// Collects the gateway's history before old transitions are dropped.
#[derive(Default)]
struct Notes {
    taken: Vec<controlplane::report::Transition>,
}

/// The history keeps a thousand transitions; a gateway makes fewer in a minute.
const STEP: u64 = 60_000;

impl Notes {
    fn run(&mut self, network: &mut Network, end: u64) {
        while network.now < end {
            network.run_until(end.min(network.now + STEP));
            self.take(network);
        }
        self.take(network);
    }

    fn take(&mut self, network: &Network) {
        let Some(gateway) = network.gateways.first() else { return };
        let all: Vec<_> = gateway.control.history().iter().collect();
        // Transitions within one millisecond may be equal, so search for the last known one from
        // the end.
        let known = self.taken.last().and_then(|last| all.iter().rposition(|transition| *transition == last));
        self.taken.extend(all.into_iter().skip(known.map_or(0, |at| at + 1)).cloned());
    }
}

fn assemble(
    scenario: &Scenario,
    mirrored: Mirrored,
    network: &Network,
    notes: Notes,
    end: u64,
) -> Prediction {
    let mut timeline: Vec<Moment> = scenario.events.iter().map(Event::moment).collect();
    timeline.extend(scenario.traffic.iter().flat_map(Traffic::moments));
    let mut detections = Vec::new();
    let mut carried: Vec<Carried> = Vec::new();
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    for transition in notes.taken {
        let at_ms = transition.at_ms.saturating_sub(ORIGIN);
        let (kind, why) = events::classify(&transition.event, &mirrored.peers);
        if let Some(peer) = transition.event.strip_suffix(" is dead") {
            let down = scenario.events.iter().filter(|event| {
                millis(event.at) <= at_ms
                    && matches!(&event.what, What::Down(name) | What::Restart(name) if name == peer)
            });
            let after_ms = down.map(|event| at_ms - millis(event.at)).next_back();
            detections.push(Detection { peer: peer.to_owned(), at_ms, after_ms });
        }
        if let Some(tunnel) = transition.event.strip_prefix("tunnel to ") {
            if let Some(peer) = tunnel.strip_suffix(" up") {
                open.insert(peer.to_owned(), at_ms);
            } else if let Some(peer) = tunnel.strip_suffix(" down")
                && let Some(from_ms) = open.remove(peer)
            {
                carried.push(Carried { peer: peer.to_owned(), from_ms, to_ms: at_ms });
            }
        }
        timeline.push(Moment { at_ms, kind, text: transition.event, why });
    }
    carried.extend(open.into_iter().map(|(peer, from_ms)| Carried { peer, from_ms, to_ms: end }));
    carried.sort_by_key(|span| span.from_ms);

    let mut outages = Vec::new();
    for (flow, traffic) in network.flows.iter().zip(&scenario.traffic) {
        outages.extend(traffic::outages(flow, millis(traffic.every)));
    }
    outages.sort_by_key(|outage| outage.from_ms);
    for outage in &outages {
        let text = format!("no answers from here on ({} packets are lost)", outage.lost);
        timeline.push(Moment { at_ms: outage.from_ms, kind: Kind::Traffic, text, why: None });
        if let Some(to) = outage.to_ms {
            let text = format!("answers again, after {}", text::duration(to - outage.from_ms));
            timeline.push(Moment { at_ms: to, kind: Kind::Traffic, text, why: None });
        }
    }
    timeline.sort_by_key(|moment| moment.at_ms);

    let mut answers: Vec<u64> = network
        .flows
        .iter()
        .flat_map(|flow| flow.journal.iter().flatten())
        .filter_map(|(_, answer)| Some((*answer)?.saturating_sub(ORIGIN)))
        .collect();
    answers.sort_unstable();
    Prediction {
        hostname: scenario.configuration.system.hostname.clone(),
        duration_ms: end,
        peers: mirrored.peers,
        timeline,
        detections,
        outages,
        carried,
        sent: network.flows.iter().map(|flow| flow.sent).sum(),
        answered: network.flows.iter().map(|flow| flow.answered).sum(),
        assumptions: mirrored.assumptions,
        answers,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
