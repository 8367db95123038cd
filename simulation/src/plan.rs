//! The plan of a history, derived from a seed: topology, configurations, traffic and faults, as
//! printable data.

use std::net::Ipv4Addr;

use crate::random::Stream;
use crate::site::{Entry, Keepalive, Site};

/// An event that is applied to the network at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everything to and from a gateway is lost.
    Cut(usize),
    /// Reverses [`Fault::Cut`].
    Mend(usize),
    /// Cuts both directions between two gateways.
    Part(usize, usize),
    /// Cuts the direction from the first to the second; the other one works.
    OneWay(usize, usize),
    /// Degrades the link between two gateways: loss and duplicates in per mille, delay and jitter
    /// in milliseconds.
    Bad(usize, usize, u32, u32, u64, u64),
    /// Repairs the link between two gateways.
    Good(usize, usize),
    /// Power cycle.
    Reboot(usize),
    /// The control plane is killed and restarted; `true`: with its checkpoint.
    KillControl(usize, bool),
    /// The data plane is killed and restarted.
    KillData(usize),
    /// The control plane is not scheduled for this many milliseconds.
    Stall(usize, u64),
    /// The system is suspended for this many milliseconds; its clock stands still.
    Sleep(usize, u64),
    /// Another configuration is applied.
    Edit(usize, Box<Site>),
    /// A session enters configuration mode and removes every access list.
    RemoveLists(usize),
    /// The session enters the same lists again and leaves.
    RetypeLists(usize),
    /// `clear crypto session`.
    ClearSession(usize),
    /// `clear crypto sa`.
    ClearSas(usize),
    /// A forged datagram is sent.
    Forge(Forgery),
    /// A flow sends at this interval in milliseconds; 0 stops it.
    Traffic(usize, u64),
    /// Whether names resolve.
    Names(bool),
}

/// Kinds of forged datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Random octets.
    Noise,
    /// A protected IKE message with one bit changed.
    Damaged,
    /// An IKE message is repeated.
    Replay,
    /// An unprotected error notify as a response to a pending initiation.
    ErrorNotify,
    /// An IKE_SA_INIT with another nonce, which creates half-open IKE SAs.
    Halves,
    /// ESP with an SPI in use, encrypted with other keys.
    WrongKeys,
    /// ESP with an unknown SPI.
    UnknownSpi,
}

const FORGERIES: [Forgery; 7] = [
    Forgery::Noise,
    Forgery::Damaged,
    Forgery::Replay,
    Forgery::ErrorNotify,
    Forgery::Halves,
    Forgery::WrongKeys,
    Forgery::UnknownSpi,
];

/// An application: its site, and the third octets of both networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPlan {
    /// The sender's site.
    pub site: usize,
    /// The sender's network.
    pub near: u8,
    /// The receiver's network.
    pub far: u8,
    /// Whether the flow must always make progress; flows of a hub depend on the state of the
    /// branch.
    pub watched: bool,
}

/// The complete plan of a history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// All gateways, branches first.
    pub sites: Vec<Site>,
    /// How many of them are branches.
    pub branches: usize,
    /// The applications.
    pub flows: Vec<FlowPlan>,
    /// Events by time, in milliseconds since the start.
    pub schedule: Vec<(u64, Fault)>,
    /// From this time there are no more faults, and everything must work within bounds.
    pub calm_at: u64,
    /// Whether a phase without traffic follows, in which everything must idle out.
    pub idles_out: bool,
}

const HUB_NETWORK: u8 = 200;

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let root = Stream::new(seed);
        let mut draw = root.fork(1);
        let branches = if draw.percent(75) { 1 } else { 2 };
        let hubs = *draw.pick(&[1, 2, 2, 2, 2, 2, 3, 3]);
        let mut sites = sites(&mut draw, branches, hubs);
        let mut answering = root.fork(6);
        sites[branches..].iter_mut().for_each(|hub| hub.dynamic = answering.percent(12));
        let flows = flows(&mut draw, &sites, branches);
        let calm_at = draw.range(20, 110) * 1000;
        let mut plan =
            Plan { seed, sites, branches, flows, schedule: Vec::new(), calm_at, idles_out: draw.percent(25) };
        plan.traffic(&mut root.fork(2));
        plan.faults(&mut root.fork(3));
        plan.retyping(&mut root.fork(7));
        plan.schedule.sort_by_key(|(at, _)| *at);
        plan
    }

    fn traffic(&mut self, draw: &mut Stream) {
        for flow in 0..self.flows.len() {
            let mut at = draw.below(5000);
            while at < self.calm_at {
                self.schedule.push((at, Fault::Traffic(flow, draw.range(400, 1500))));
                at += draw.range(5, 90) * 1000;
                if at >= self.calm_at || draw.percent(50) {
                    break;
                }
                self.schedule.push((at, Fault::Traffic(flow, 0)));
                at += *draw.pick(&[500, 3000, 25_000, 62_000, 75_000]);
            }
        }
    }

    fn faults(&mut self, draw: &mut Stream) {
        for _ in 0..draw.below(6) {
            let at = draw.range(1000, self.calm_at.max(2000) - 1);
            self.one_fault(draw, at);
        }
        if draw.percent(40) {
            for _ in 0..draw.range(1, 8) {
                let at = draw.range(100, self.calm_at - 1);
                let forgery = Fault::Forge(*draw.pick(&FORGERIES));
                self.schedule.push((at, forgery));
            }
        }
        // Edits are reverted too: the bounds hold for sites with compatible configurations.
        for (site, original) in self.sites.iter().enumerate() {
            let edited =
                |(_, fault): &(u64, Fault)| matches!(fault, Fault::Edit(edited, _) if *edited == site);
            if self.schedule.iter().any(edited) {
                self.schedule.push((self.calm_at, Fault::Edit(site, Box::new(original.clone()))));
            }
        }
        self.schedule.push((self.calm_at, Fault::Names(true)));
    }

    /// Lists that are removed and entered again in one session must disturb nothing.
    fn retyping(&mut self, draw: &mut Stream) {
        if !draw.percent(30) {
            return;
        }
        let site = draw.below(self.sites.len() as u64) as usize;
        let begin = draw.range(1000, self.calm_at - 1);
        let end = (begin + draw.range(100, 40_000)).min(self.calm_at);
        let of_another = |(at, fault): &(u64, Fault)| {
            matches!(fault, Fault::Edit(edited, _) if *edited == site) && (begin..=end).contains(at)
        };
        if !self.schedule.iter().any(of_another) {
            self.schedule.push((begin, Fault::RemoveLists(site)));
            self.schedule.push((end, Fault::RetypeLists(site)));
        }
    }

    fn one_fault(&mut self, draw: &mut Stream, at: u64) {
        let any = draw.below(self.sites.len() as u64) as usize;
        let branch = draw.below(self.branches as u64) as usize;
        let hub = self.branches + draw.below((self.sites.len() - self.branches) as u64) as usize;
        let later = (at + draw.range(1, 60) * 1000).min(self.calm_at);
        let mut put = |at, fault| self.schedule.push((at, fault));
        match draw.below(16) {
            0..=3 => {
                put(at, Fault::Cut(hub));
                put(later, Fault::Mend(hub));
            }
            4 => {
                put(at, Fault::Part(branch, hub));
                put(later, Fault::Good(branch, hub));
            }
            5 => {
                let (from, to) = if draw.percent(50) { (branch, hub) } else { (hub, branch) };
                put(at, Fault::OneWay(from, to));
                put(later, Fault::Good(branch, hub));
            }
            6 | 7 => {
                let loss = *draw.pick(&[0, 50, 200, 400]);
                let bad = Fault::Bad(
                    branch,
                    hub,
                    loss,
                    *draw.pick(&[0, 100, 300]),
                    *draw.pick(&[5, 30, 150]),
                    *draw.pick(&[0, 20, 200]),
                );
                put(at, bad);
                put(later, Fault::Good(branch, hub));
            }
            8 => put(at, Fault::Reboot(any)),
            9 => put(at, Fault::KillControl(any, draw.percent(75))),
            10 => put(at, Fault::KillData(any)),
            11 => put(at, Fault::Stall(any, draw.range(200, 20_000))),
            12 => put(at, Fault::Sleep(any, draw.range(500, 60_000))),
            13 => {
                let edited = edit(draw, &self.sites, self.branches);
                put(at, edited);
            }
            14 => put(at, if draw.percent(60) { Fault::ClearSession(any) } else { Fault::ClearSas(any) }),
            _ => {
                put(at, Fault::Names(false));
                put(later, Fault::Names(true));
            }
        }
    }
}

fn sites(draw: &mut Stream, branches: usize, hubs: usize) -> Vec<Site> {
    let pfs = draw.percent(15);
    let wide = draw.percent(30);
    let two_permits = draw.percent(20);
    let permits = |branch: usize| {
        let first = (1 + branch as u8, HUB_NETWORK);
        if two_permits { vec![first, (101 + branch as u8, HUB_NETWORK)] } else { vec![first] }
    };
    let lifetime = if draw.percent(15) { Some(draw.range(120, 240) as u32) } else { None };
    let mut sites = Vec::new();
    for branch in 0..branches {
        let mut peers: Vec<usize> = (branches..branches + hubs).collect();
        draw.shuffle(&mut peers);
        let idle = draw.percent(70).then(|| (*draw.pick(&[60, 60, 75, 90]), draw.percent(70)));
        let entry = Entry {
            peers,
            default_first: draw.percent(65),
            idle,
            lifetime,
            pfs,
            wide,
            permits: permits(branch),
            key: 1,
            by_name: draw.percent(10),
        };
        sites.push(Site {
            name: format!("branch{}", branch + 1),
            address: Ipv4Addr::new(10, 9, 1 + branch as u8, 1),
            keepalive: keepalive(draw),
            give_up: draw.range(5, 10) as u32,
            idle: draw.percent(15).then(|| *draw.pick(&[60, 90])),
            ike_lifetime: draw.percent(10).then(|| draw.range(120, 200) as u32),
            applied: true,
            dynamic: false,
            entries: vec![entry],
        });
    }
    for hub in 0..hubs {
        let hub_idle = draw.percent(15).then_some((60, false));
        let entries = (0..branches)
            .map(|branch| Entry {
                peers: vec![branch],
                default_first: false,
                idle: hub_idle,
                lifetime,
                pfs,
                wide,
                permits: permits(branch).into_iter().map(|(near, far)| (far, near)).collect(),
                key: 1,
                by_name: false,
            })
            .collect();
        sites.push(Site {
            name: format!("hub{}", hub + 1),
            address: Ipv4Addr::new(10, 1 + hub as u8, 1, 1),
            keepalive: keepalive(draw),
            give_up: draw.range(5, 10) as u32,
            idle: None,
            ike_lifetime: None,
            applied: true,
            dynamic: false,
            entries,
        });
    }
    sites
}

fn keepalive(draw: &mut Stream) -> Option<Keepalive> {
    let retry = if draw.percent(80) { 2 } else { 3 };
    let periodic = draw.percent(75);
    draw.percent(95).then_some(Keepalive { interval: 10, retry, periodic })
}

fn flows(draw: &mut Stream, sites: &[Site], branches: usize) -> Vec<FlowPlan> {
    let mut flows: Vec<FlowPlan> = (0..branches)
        .flat_map(|site| {
            let permits = sites[site].entries.iter().flat_map(|entry| &entry.permits);
            permits.map(move |(near, far)| FlowPlan { site, near: *near, far: *far, watched: true })
        })
        .collect();
    if draw.percent(12) {
        let hub = branches + draw.below((sites.len() - branches) as u64) as usize;
        let back = flows[draw.below(flows.len() as u64) as usize];
        flows.push(FlowPlan { site: hub, near: back.far, far: back.near, watched: false });
    }
    flows
}

/// An edit of one site, correct or mistaken.
fn edit(draw: &mut Stream, sites: &[Site], branches: usize) -> Fault {
    let index = if draw.percent(75) {
        draw.below(branches as u64) as usize
    } else {
        draw.below(sites.len() as u64) as usize
    };
    let mut site = sites[index].clone();
    let entry = &mut site.entries[0];
    match draw.below(9) {
        0 if entry.peers.len() > 1 => drop(entry.peers.remove(0)),
        1 if entry.peers.len() > 1 => drop(entry.peers.pop()),
        2 if entry.peers.len() > 1 => entry.peers.rotate_left(1),
        3 => entry.default_first = !entry.default_first,
        4 => entry.idle = Some((60, !entry.idle.is_some_and(|(_, to_default)| to_default))),
        5 => entry.idle = None,
        6 => entry.key = 2,
        7 => site.applied = false,
        8 => entry.wide = !entry.wide,
        _ => site.idle = Some(60),
    }
    Fault::Edit(index, Box::new(site))
}
