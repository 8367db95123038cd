//! A history: a plan executed on a network, with the invariants checked after every step.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;

use config::command::{ClearCommand, Filter};
use ike::provider::Provider;
use sa_table::FiveTuple;

use crate::campaign::panic_text;
use crate::crypto::CHEAP;
use crate::forge::forge;
use crate::gateway::{CAPACITIES, Condition, Setup};
use crate::monitor::{Invariant, Monitor, Violation};
use crate::network::{Line, Network, ORIGIN, Sabotage, SimulationError};
use crate::plan::{Fault, Plan};
use crate::random::Stream;
use crate::site::{Site, dns_name};

/// One history in this many uses real cryptography.
const REAL_CRYPTOGRAPHY: u64 = 100;

/// The longest time that state may remain after everything was closed: a replaced IKE SA waits 60 s
/// for the peer's Delete, a request in flight on it is retransmitted for up to 120 s, then its own
/// Delete for 10 s, and a closed IKE SA retransmits its last response for 30 s.
const TO_REST: u64 = 225_000;

/// How a history is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether to record the timeline.
    pub timeline: bool,
    /// A deliberately broken component.
    pub sabotage: Sabotage,
}

/// The result of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Violated invariants.
    pub violations: Vec<Violation>,
    /// The timeline, if recorded.
    pub timeline: Vec<Line>,
    /// Packets of all applications, sent and answered.
    pub packets: (u64, u64),
    /// Virtual milliseconds.
    pub length: u64,
}

/// Runs the history of a seed. A panic is reported as a violation.
///
/// # Errors
/// If the system has not enough memory or descriptors.
pub fn run(seed: u64, options: Options) -> Result<Outcome, SimulationError> {
    let plan = Plan::of(seed);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| carry_out(&plan, options)));
    caught.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        let violation = Violation { at: 0, invariant: Invariant::Sound, gateway: "?".to_owned(), text };
        Ok(Outcome { violations: vec![violation], ..Outcome::default() })
    })
}

/// Runs a plan.
///
/// # Errors
/// If the system has not enough memory or descriptors.
pub fn carry_out(plan: &Plan, options: Options) -> Result<Outcome, SimulationError> {
    let mut history = History::new(plan, options)?;
    history.faults()?;
    history.calm();
    history.silence();
    history.close();
    let packets =
        history.network.flows.iter().fold((0, 0), |(s, a), flow| (s + flow.sent, a + flow.answered));
    let monitor = history.network.monitor.take();
    Ok(Outcome {
        violations: monitor.map(|monitor| monitor.violations).unwrap_or_default(),
        timeline: history.network.timeline.take().unwrap_or_default(),
        packets,
        length: history.network.now - ORIGIN,
    })
}

struct History<'a> {
    plan: &'a Plan,
    network: Network,
    draw: Stream,
    sabotage: Sabotage,
    /// When a stopped gateway continues, and how long its clock stood still.
    wakes: BTreeMap<usize, (u64, u64)>,
}

impl<'a> History<'a> {
    fn new(plan: &'a Plan, options: Options) -> Result<Self, SimulationError> {
        let random = Stream::new(plan.seed);
        let setups = plan.sites.iter().map(|site| setup(site, &plan.sites)).collect();
        let provider: &'static Provider =
            if plan.seed.is_multiple_of(REAL_CRYPTOGRAPHY) { &ike::provider::DEFAULT } else { &CHEAP };
        let mut network = Network::new(setups, provider, &random.fork(4), options.sabotage)?;
        network.timeline = options.timeline.then(Vec::new);
        for flow in &plan.flows {
            network.add_flow(flow.site, tuple(flow.near, flow.far), false);
        }
        let watched = plan.flows.iter().map(|flow| flow.watched).collect();
        network.zone = zone(&plan.sites);
        network.monitor = Some(Box::new(Monitor::new(plan.sites.clone(), watched, options.sabotage)));
        let mut history = History {
            plan,
            network,
            draw: random.fork(5),
            sabotage: options.sabotage,
            wakes: BTreeMap::new(),
        };
        history.refresh();
        history.network.start();
        Ok(history)
    }

    fn faults(&mut self) -> Result<(), SimulationError> {
        let mut sabotaged = false;
        for (at, fault) in &self.plan.schedule {
            self.run_until(ORIGIN + at);
            if self.sabotage == Sabotage::SecretEdit
                && *at > 10_000
                && !std::mem::replace(&mut sabotaged, true)
            {
                self.secret_edit();
            }
            self.network.note(None, describe(fault, &self.plan.sites));
            self.apply(fault)?;
            self.refresh();
        }
        Ok(())
    }

    /// Advances the time and wakes gateways when due.
    fn run_until(&mut self, end: u64) {
        while let Some((gateway, (at, slept))) = self
            .wakes
            .iter()
            .map(|(g, w)| (*g, *w))
            .min_by_key(|(_, (at, _))| *at)
            .filter(|(_, (at, _))| *at <= end)
        {
            self.network.run_until(at);
            self.wakes.remove(&gateway);
            self.network.note(Some(gateway), "goes on");
            self.network.wake(gateway, slept);
            self.refresh();
        }
        self.network.run_until(end);
    }

    fn apply(&mut self, fault: &Fault) -> Result<(), SimulationError> {
        let network = &mut self.network;
        let runs =
            |network: &Network, gateway: usize| network.gateways[gateway].condition == Condition::Running;
        match *fault {
            Fault::Cut(gateway) => network.wire.around(gateway, |link| link.cut = true),
            Fault::Mend(gateway) => network.wire.around(gateway, |link| link.cut = false),
            Fault::Part(a, b) => network.wire.both(a, b, |link| link.cut = true),
            Fault::OneWay(from, to) => network.wire.link_mut(from, to).cut = true,
            Fault::Bad(a, b, loss, duplicate, delay, jitter) => network.wire.both(a, b, |link| {
                (link.loss, link.duplicate, link.delay, link.jitter) = (loss, duplicate, delay, jitter);
            }),
            Fault::Good(a, b) => network.wire.both(a, b, |link| *link = Default::default()),
            Fault::Names(true) => network.zone = zone(&self.plan.sites),
            Fault::Names(false) => network.zone.clear(),
            Fault::Traffic(flow, interval) => network.set_interval(flow, interval),
            Fault::Forge(forgery) => forge(network, forgery, &mut self.draw),
            Fault::Stall(gateway, span) if runs(network, gateway) => {
                network.stop(gateway, Condition::Stalled);
                self.wakes.insert(gateway, (network.now + span, 0));
            }
            Fault::Sleep(gateway, span) if runs(network, gateway) => {
                network.stop(gateway, Condition::Asleep);
                self.wakes.insert(gateway, (network.now + span, span));
            }
            Fault::Reboot(gateway) if runs(network, gateway) => {
                self.disturb(gateway, true);
                self.network.reboot(gateway)?;
            }
            Fault::KillControl(gateway, keep) if runs(network, gateway) => {
                self.disturb(gateway, true);
                self.network.restart_control_plane(gateway, keep)?;
            }
            Fault::KillData(gateway) => network.restart_data_plane(gateway)?,
            Fault::Edit(gateway, ref site) if runs(network, gateway) => self.edit(gateway, site),
            Fault::RemoveLists(gateway) if runs(network, gateway) => network.remove_lists(gateway),
            Fault::RetypeLists(gateway) if runs(network, gateway) => network.retype_lists(gateway),
            Fault::ClearSession(gateway) if runs(network, gateway) => {
                self.disturb(gateway, false);
                self.network.clear(gateway, &ClearCommand::Sessions(Filter::default()));
            }
            Fault::ClearSas(gateway) if runs(network, gateway) => {
                self.disturb(gateway, false);
                self.network.clear(gateway, &ClearCommand::AllSas);
            }
            // No configuration is entered at a stopped gateway.
            _ => {}
        }
        Ok(())
    }

    fn edit(&mut self, gateway: usize, site: &Site) {
        let Ok(configuration) = site.configuration(&self.plan.sites) else { return };
        self.network.retype_lists(gateway);
        self.network.with_monitor(|monitor, network| monitor.edited(network, gateway, site.clone()));
        self.network.configure(gateway, configuration);
    }

    /// Reverses a peer list without informing the monitor.
    fn secret_edit(&mut self) {
        let mut site = self.plan.sites[0].clone();
        site.entries[0].peers.rotate_left(1);
        site.entries[0].default_first = !site.entries[0].default_first;
        if let Ok(configuration) = site.configuration(&self.plan.sites) {
            self.network.configure(0, configuration);
        }
    }

    fn disturb(&mut self, gateway: usize, restarts: bool) {
        self.network.with_monitor(|monitor, network| {
            monitor.disturbed(network, gateway);
            if restarts {
                monitor.restarted(gateway);
            }
        });
    }

    fn refresh(&mut self) {
        self.network.with_monitor(Monitor::conditions);
    }

    /// All faults are repaired and every flow sends: each must get through within its bound, which
    /// the monitor checks.
    fn calm(&mut self) {
        self.run_until(ORIGIN + self.plan.calm_at);
        if let Some(last) = self.wakes.values().map(|(at, _)| *at).max() {
            self.run_until(last);
        }
        for gateway in 0..self.network.gateways.len() {
            // The session of a stopped gateway had to wait.
            self.network.retype_lists(gateway);
        }
        self.network.wire.heal();
        self.refresh();
        self.network.note(None, "calm: everything is as it should be, every flow sends");
        for flow in 0..self.network.flows.len() {
            self.network.set_interval(flow, 700);
        }
        let begin = self.network.now;
        for _ in 0..200 {
            self.run_until(self.network.now + 1000);
            let through = |(flow, plan): (&crate::network::Flow, &crate::plan::FlowPlan)| {
                !plan.watched || flow.last_answer > begin
            };
            if self.violated() || self.network.flows.iter().zip(&self.plan.flows).all(through) {
                break;
            }
        }
        self.run_until(self.network.now + 4000);
    }

    fn violated(&self) -> bool {
        self.network.monitor.as_ref().is_some_and(|monitor| !monitor.violations.is_empty())
    }

    fn silence(&mut self) {
        self.network.note(None, "silence");
        for flow in 0..self.network.flows.len() {
            self.network.set_interval(flow, 0);
        }
        let longest = self.plan.sites.iter().flat_map(|site| {
            site.entries.iter().filter_map(|entry| entry.idle.map(|(seconds, _)| seconds)).chain(site.idle)
        });
        if let Some(longest) = longest.max().filter(|_| self.plan.idles_out) {
            self.run_until(self.network.now + u64::from(longest + 15) * 1000);
            self.network.with_monitor(Monitor::check_idled_out);
        }
    }

    fn close(&mut self) {
        // A packet that was still held may have brought up one more tunnel after the first pass.
        for _ in 0..2 {
            self.network.note(None, "every session is cleared");
            for gateway in 0..self.network.gateways.len() {
                self.network.gateways[gateway].plane.drop_waiting();
                self.disturb(gateway, false);
                self.network.clear(gateway, &ClearCommand::Sessions(Filter::default()));
            }
            self.run_until(self.network.now + TO_REST);
            if self.network.gateways.iter().all(|gateway| gateway.control.load().ike_sas == 0) {
                break;
            }
        }
        self.network.with_monitor(Monitor::check_nothing_left);
    }
}

fn setup(site: &Site, sites: &[Site]) -> Setup {
    // The generated text always parses, which the tests of the plan ensure.
    let configuration = cached(site, sites);
    Setup {
        name: site.name.clone(),
        address: site.ip(),
        configuration,
        devices: site.devices(),
        capacities: CAPACITIES,
    }
}

fn cached(site: &Site, sites: &[Site]) -> config::Configuration {
    site.configuration(sites).unwrap_or_default()
}

fn zone(sites: &[Site]) -> BTreeMap<String, Vec<IpAddr>> {
    sites.iter().map(|site| (dns_name(site), vec![site.ip()])).collect()
}

fn tuple(near: u8, far: u8) -> FiveTuple {
    FiveTuple {
        source: Ipv4Addr::new(192, 168, near, 10).into(),
        destination: Ipv4Addr::new(192, 168, far, 10).into(),
        protocol: 17,
        source_port: 4000,
        destination_port: 7,
    }
}

fn describe(fault: &Fault, sites: &[Site]) -> String {
    let name = |index: &usize| sites.get(*index).map_or("?", |site| site.name.as_str());
    match fault {
        Fault::Cut(g) => format!("-- {} is cut off", name(g)),
        Fault::Mend(g) => format!("-- {} is reachable again", name(g)),
        Fault::Part(a, b) => format!("-- nothing passes between {} and {}", name(a), name(b)),
        Fault::OneWay(a, b) => format!("-- nothing passes from {} to {}", name(a), name(b)),
        Fault::Bad(a, b, loss, duplicate, delay, jitter) => format!(
            "-- bad link between {} and {}: {loss} per mille lost, {duplicate} doubled, {delay} ms and up to {jitter} ms more",
            name(a),
            name(b)
        ),
        Fault::Good(a, b) => format!("-- the link between {} and {} is good", name(a), name(b)),
        Fault::Reboot(g) => format!("-- {} reboots", name(g)),
        Fault::KillControl(g, true) => format!("-- {}: the control plane is killed and started", name(g)),
        Fault::KillControl(g, false) => {
            format!("-- {}: the control plane is started without its memory", name(g))
        }
        Fault::KillData(g) => format!("-- {}: the data plane is killed and started", name(g)),
        Fault::Stall(g, ms) => format!("-- {}: the control plane does not run for {ms} ms", name(g)),
        Fault::Sleep(g, ms) => format!("-- {} sleeps for {ms} ms", name(g)),
        Fault::Edit(g, site) => format!("-- {} is configured:\n{}", name(g), site.text(sites)),
        Fault::RemoveLists(g) => format!("-- {}: configure terminal, no access-list …", name(g)),
        Fault::RetypeLists(g) => format!("-- {}: access-list …, end", name(g)),
        Fault::ClearSession(g) => format!("-- {}: clear crypto session", name(g)),
        Fault::ClearSas(g) => format!("-- {}: clear crypto sa", name(g)),
        Fault::Forge(forgery) => format!("-- forgery: {forgery:?}"),
        Fault::Traffic(flow, 0) => format!("-- flow {flow} is silent"),
        Fault::Traffic(flow, ms) => format!("-- flow {flow} sends every {ms} ms"),
        Fault::Names(true) => "-- names resolve".to_owned(),
        Fault::Names(false) => "-- names do not resolve".to_owned(),
    }
}

/// A history as text: the gateways, the events and the violations.
pub fn report(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = format!("history of seed {}\n\n", plan.seed);
    for site in &plan.sites {
        text.push_str(&format!("{} ({}):\n", site.name, site.address));
        for line in site.text(&plan.sites).lines().filter(|line| !line.starts_with("hostname")) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    for (index, flow) in plan.flows.iter().enumerate() {
        let site = &plan.sites[flow.site].name;
        text.push_str(&format!(
            "flow {index}: 192.168.{}.10 -> 192.168.{}.10 at {site}\n",
            flow.near, flow.far
        ));
    }
    text.push('\n');
    for line in &outcome.timeline {
        text.push_str(&format!("{:>9.3} s  {:<8} {}\n", line.at as f64 / 1000.0, line.who, line.text));
    }
    text.push('\n');
    for violation in &outcome.violations {
        text.push_str(&format!("VIOLATION at {violation}\n"));
    }
    text
}
