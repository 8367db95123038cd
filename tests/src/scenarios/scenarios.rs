//! The scenarios. A is hub1 (the default where there is one), B is hub2, C is hub3.

use lab::Result;
use lab::command::{sleep_ms, wait_for};
use lab::failover::{Hub, Options};

use crate::bench::{Bench, SCALE, fail};

/// One worked scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its number.
    pub number: usize,
    /// Description, in a line.
    pub title: &'static str,
    /// The configuration.
    pub options: fn() -> Options,
    /// The steps and checks.
    pub steps: fn(&mut Bench) -> Result<()>,
}

const A: Hub = Hub::One;
const B: Hub = Hub::Two;
const C: Hub = Hub::Three;

/// All of them, in order.
pub const ALL: [Scenario; 13] = [
    Scenario {
        number: 1,
        title: "A dies under traffic: A is retried, B takes over",
        options: example,
        steps: a_dies,
    },
    Scenario {
        number: 2,
        title: "A returns while traffic flows: it stays on B",
        options: example,
        steps: a_returns_under_traffic,
    },
    Scenario {
        number: 3,
        title: "A returns, then silence: the next packet goes home to A",
        options: example,
        steps: home_after_silence,
    },
    Scenario {
        number: 4,
        title: "the same without `default` on the idle timer: B again",
        options: idle_without_default,
        steps: b_again_after_silence,
    },
    Scenario {
        number: 5,
        title: "B dies after A returned: back to A",
        options: example,
        steps: b_dies_after_a_returned,
    },
    Scenario {
        number: 6,
        title: "A dead, silence, a packet: A is tried again, then B",
        options: example,
        steps: a_still_dead_after_silence,
    },
    Scenario {
        number: 7,
        title: "both dead: each cycle tries A and B once, beginning with A",
        options: impatient,
        steps: both_dead,
    },
    Scenario {
        number: 8,
        title: "no default: A dies, B; B dies, A; silence on B, B",
        options: without_default,
        steps: around_the_list,
    },
    Scenario {
        number: 9,
        title: "B initiates while we have A: the flow follows B",
        options: example,
        steps: b_initiates,
    },
    Scenario {
        number: 10,
        title: "on-demand detection: nothing is noticed before there is a packet",
        options: on_demand,
        steps: noticed_on_demand,
    },
    Scenario {
        number: 11,
        title: "three peers, B dies, A is unresponsive: B, then C, in list order",
        options: three_peers,
        steps: list_order_after_the_default,
    },
    Scenario {
        number: 12,
        title: "entry timer equal to the global one: it is not added, no way home",
        options: equal_timers,
        steps: b_again_after_silence,
    },
    Scenario {
        number: 13,
        title: "the hub's Delete comes before our own timer: home all the same",
        options: impatient_hubs,
        steps: home_after_the_hubs_delete,
    },
];

fn example() -> Options {
    Options { time_scale: SCALE, ..Options::default() }
}

fn idle_without_default() -> Options {
    Options { entry: " set security-association idle-time 60\n".to_owned(), ..example() }
}

fn impatient() -> Options {
    Options { give_up: 5, ..example() }
}

fn without_default() -> Options {
    Options { peers: " set peer 10.1.1.1\n set peer 10.2.2.2\n".to_owned(), ..example() }
}

fn on_demand() -> Options {
    Options { keepalive: "10 2".to_owned(), ..example() }
}

fn three_peers() -> Options {
    let peers = " set peer 10.1.1.1 default\n set peer 10.2.2.2\n set peer 10.3.3.3\n".to_owned();
    Options { hubs: 3, peers, ..impatient() }
}

fn equal_timers() -> Options {
    Options { globals: "crypto ipsec security-association idle-time 60\n".to_owned(), ..example() }
}

fn impatient_hubs() -> Options {
    Options {
        entry: " set security-association idle-time 120 default\n".to_owned(),
        hub_entry: " set security-association idle-time 60\n".to_owned(),
        ..example()
    }
}

fn a_dies(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.fail_over(A, B)?;
    let order = bench.initiations()?;
    expect_order(&order, &[A, A, B])
}

fn a_returns_under_traffic(bench: &mut Bench) -> Result<()> {
    a_dies_and_returns(bench)?;
    sleep_ms(8000)?;
    bench.expect_traffic_through(B)?;
    expect_order(&bench.initiations()?, &[A, A, B])
}

fn home_after_silence(bench: &mut Bench) -> Result<()> {
    a_dies_and_returns(bench)?;
    bench.fall_silent(B)?;
    bench.speak_again()?;
    bench.expect_traffic_through(A)
}

fn b_again_after_silence(bench: &mut Bench) -> Result<()> {
    a_dies_and_returns(bench)?;
    bench.fall_silent(B)?;
    bench.speak_again()?;
    bench.expect_traffic_through(B)?;
    expect_order(&bench.initiations()?, &[A, A, B, B])
}

fn b_dies_after_a_returned(bench: &mut Bench) -> Result<()> {
    a_dies_and_returns(bench)?;
    bench.fail_over(B, A)
}

fn a_still_dead_after_silence(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.fail_over(A, B)?;
    bench.fall_silent(B)?;
    bench.speak_again()?;
    bench.expect_traffic_through(B)?;
    expect_order(&bench.initiations()?, &[A, A, B, A, B])
}

fn both_dead(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.network.cut(B)?;
    bench.cut_and_wait_for_detection(A)?;
    // Three cycles, with at most one in ten (scaled) seconds.
    sleep_ms(5000)?;
    bench.network.heal()?;
    bench.probe.wait_for_echo(10)?;
    let order = bench.initiations()?;
    expect_order(order.get(..5).unwrap_or(&order), &[A, A, B, A, B])
}

fn around_the_list(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.fail_over(A, B)?;
    bench.network.heal()?;
    bench.fail_over(B, A)?;
    bench.network.heal()?;
    bench.fail_over(A, B)?;
    bench.network.heal()?;
    bench.fall_silent(B)?;
    bench.speak_again()?;
    bench.expect_traffic_through(B)?;
    expect_order(&bench.initiations()?, &[A, B, A, B, B])
}

fn b_initiates(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    // hub1 must not send, otherwise the branch would follow it as the last active peer.
    bench.probe.pause()?;
    sleep_ms(300)?;
    // hub2 loses its route through hub1, so that its own packet to the branch's network matches its
    // crypto map.
    let hub2 = bench.network.hub(B);
    hub2.configure(&["no ip route 192.168.1.0 255.255.255.0 192.168.2.1 250"])?;
    hub2.namespace().run("ping", &["-c", "3", "-i", "0.3", "-W", "2", "-I", B.inside(), "192.168.1.10"])?;
    bench.expect_current(B)?;
    // host-a's own packets leave through hub2's SA; otherwise its answer could not return through
    // it.
    bench.network.host_a.run("ping", &["-c", "3", "-i", "0.3", "-W", "2", B.inside()])?;
    bench.expect_current(B)
}

fn noticed_on_demand(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.probe.pause()?;
    sleep_ms(300)?;
    bench.network.cut(A)?;
    sleep_ms(4500)?;
    if !bench.network.has_sa_with(A) {
        return fail("the dead peer was noticed without a packet to send");
    }
    bench.probe.resume()?;
    bench.wait_for_takeover(B)
}

fn list_order_after_the_default(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.fail_over(A, B)?;
    bench.fail_over(B, C)?;
    expect_order(&bench.initiations()?, &[A, A, B, A, B, C])
}

fn home_after_the_hubs_delete(bench: &mut Bench) -> Result<()> {
    a_dies_and_returns(bench)?;
    bench.probe.pause()?;
    wait_for("the hub's Delete", 10, || (!bench.network.has_sa_with(B)).then_some(()))?;
    bench.expect_current(B)?;
    // 120 (scaled) seconds of silence in all.
    sleep_ms(7500)?;
    bench.speak_again()?;
    bench.expect_traffic_through(A)
}

fn a_dies_and_returns(bench: &mut Bench) -> Result<()> {
    bench.expect_traffic_through(A)?;
    bench.fail_over(A, B)?;
    bench.network.heal()
}

fn expect_order(seen: &[String], expected: &[Hub]) -> Result<()> {
    let expected: Vec<&str> = expected.iter().map(|hub| hub.address()).collect();
    if seen == expected { Ok(()) } else { fail(&format!("the branch asked {seen:?}, expected {expected:?}")) }
}
