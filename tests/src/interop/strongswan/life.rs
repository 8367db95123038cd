//! Rekeying, liveness, deletion, restarts.

use lab::Result;
use lab::command::{sleep_ms, wait_for};
use lab::peer::Release;
use lab::probe::now_ms;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, fail};
use crate::case::{BOTH, Case, Initiator, Opposite, RELEASES, isakmp};

/// Number of consecutive rekeyings of the child.
const REKEYINGS: u32 = 20;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            let new = |title: &str| Case::new(title, Opposite::Namespace(release), initiator);
            let mut theirs =
                new("the stranger rekeys 20 children and 6 IKE SAs under traffic").playing(rekeyed);
            theirs.template = "ikev2-rekey";
            theirs.long = true;
            cases.push(theirs.with(&["CHILD_REKEY=2s", "IKE_REKEY=6s"]));
            cases.push(ours_rekeys(new("we rekey 20 children and 4 IKE SAs under traffic")));
            cases.push(new("the stranger deletes the child, then the IKE SA").playing(they_delete));
            cases.push(new("we delete the child, then the IKE SA").playing(we_delete));
        }
        cases.extend(one_way(release));
    }
    cases
}

fn one_way(release: Release) -> [Case; 4] {
    let new = |title: &str| Case::new(title, Opposite::Namespace(release), Initiator::Tohub);
    let mut hung = new("the stranger hangs: dead peer detection").playing(the_stranger_hangs);
    hung.ours.scale = 5;
    let asked = new("the stranger asks whether we live").playing(they_probe);
    let restarted = new("the stranger is killed and started again").playing(the_stranger_restarts);
    let killed = new("our control plane is killed under traffic").playing(our_control_plane_is_killed);
    [hung, asked, restarted, killed]
}

/// Timers run 30 times as fast: a child of 120 s is replaced after 2 to 3 s, an IKE SA of 400 s
/// after 12 to 13 s.
fn ours_rekeys(mut case: Case) -> Case {
    case.ours.scale = 30;
    case.ours.ike = isakmp("aes 256", "sha256", 19).replace(" group 19\n", " group 19\n lifetime 400\n");
    case.ours.entry = " set security-association lifetime seconds 120\n".to_owned();
    case.ours.keepalive = "120 30 periodic".to_owned();
    case.long = true;
    case.playing(rekeyed)
}

/// Traffic flows while the SAs are replaced, and nothing is lost.
fn rekeyed(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    let first = numbers(&bench.their_sas()?)?;
    let (_echo, probe) = bench.probe()?;
    let began = now_ms();
    let last = wait_for("20 rekeyings of the child", 120, || {
        let last = numbers(&bench.their_sas().ok()?).ok()?;
        (last.1 >= first.1 + REKEYINGS).then_some(last)
    })?;
    let ended = now_ms();
    sleep_ms(1000)?;
    let count = probe.count(began, ended);
    if count.lost > 0 {
        return fail(&format!("{} of {} packets were lost while rekeying", count.lost, count.sent));
    }
    if last.0 < first.0 + 3 {
        return fail(&format!("the IKE SA was replaced {} times only", last.0 - first.0));
    }
    bench.seen.push(format!(
        "{} child and {} IKE rekeyings, {} packets, none lost",
        last.1 - first.1,
        last.0 - first.0,
        count.sent
    ));
    drop((probe, _echo));
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

/// The highest IDs of an IKE SA and of a child in strongSwan's list; it increments both.
fn numbers(list: &str) -> Result<(u32, u32)> {
    let highest = |lines: &mut dyn Iterator<Item = &str>| {
        lines
            .filter_map(|line| line.split_once('#')?.1.split(',').next()?.parse::<u32>().ok())
            .max()
            .ok_or_else(|| lab::LabError::Unexpected(format!("no numbers of SAs in\n{list}")))
    };
    let ike = highest(&mut list.lines().filter(|line| line.starts_with("gw:")))?;
    let child = highest(&mut list.lines().filter(|line| line.starts_with("  net:")))?;
    Ok((ike, child))
}

fn they_delete(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.stranger.program().swanctl(&["--terminate", "--child", "net"])?;
    wait_for("our child to end", 5, || (!has_child(bench)).then_some(()))?;
    bench.ping_from_host(3, 10)?;
    bench.wait_until_up()?;
    bench.stranger.program().swanctl(&["--terminate", "--ike", "gw"])?;
    wait_for("our IKE SA to end", 5, || {
        bench
            .our_sas()
            .is_ok_and(|text| !text.contains("READY") && !text.contains("Status: ACTIVE"))
            .then_some(())
    })?;
    bench.ping_from_host(3, 10)?;
    bench.wait_until_up()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

fn we_delete(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.gateway.cli("clear crypto sa")?;
    wait_for("the stranger's child to end", 5, || {
        bench.their_sas().is_ok_and(|text| !text.contains("INSTALLED")).then_some(())
    })?;
    bench.ping_from_host(3, 10)?;
    bench.wait_until_up()?;
    bench.gateway.cli("clear crypto session")?;
    wait_for("the stranger's IKE SA to end", 5, || {
        bench.their_sas().is_ok_and(|text| !text.contains("ESTABLISHED")).then_some(())
    })?;
    bench.ping_from_host(3, 10)?;
    bench.wait_until_up()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

fn the_stranger_hangs(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    let pid = bench.stranger.program().pid()?;
    signal(pid, Signal::STOP);
    let stopped = now_ms();
    let detected = wait_for("dead peer detection", 15, || {
        bench
            .our_sas()
            .is_ok_and(|text| !text.contains("READY") && !text.contains("Status: ACTIVE"))
            .then(now_ms)
    });
    signal(pid, Signal::CONT);
    bench.seen.push(format!("detected after {} ms, timers 5 times as fast", detected? - stopped));
    // The next packet brings up the tunnel again.
    wait_for("the tunnel to come back", 20, || bench.ping_from_host(1, 3).ok())?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

fn they_probe(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    let asks = |bench: &Bench| bench.stranger.program().log().matches("sending DPD request").count();
    let before = asks(bench);
    wait_for("two probes of the stranger", 20, || (asks(bench) >= before + 2).then_some(()))?;
    sleep_ms(1000)?;
    let log = bench.stranger.program().log();
    if log.contains("retransmit") {
        return fail("a probe had to be repeated");
    }
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}

fn the_stranger_restarts(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    signal(bench.stranger.program().pid()?, Signal::KILL);
    bench.restart_stranger()?;
    // It has no state and initiates again: its INITIAL_CONTACT closes our old IKE SA.
    bench.initiate_child("net")?;
    bench.ping_both_ways()?;
    wait_for("the old SAs to go", 10, || {
        bench.our_sas().is_ok_and(|text| text.matches("READY").count() == 1).then_some(())
    })?;
    bench.ends_agree()?;
    bench.judge_wire()
}

fn our_control_plane_is_killed(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    let (_echo, probe) = bench.probe()?;
    let began = now_ms();
    let old = bench.gateway.kill("tohub-controlplane")?;
    bench.gateway.wait_for_restart("tohub-controlplane", old)?;
    bench.gateway.wait_until_ready()?;
    sleep_ms(3000)?;
    let ended = now_ms();
    sleep_ms(1000)?;
    let count = probe.count(began, ended);
    if count.lost > 0 {
        return fail(&format!("{} of {} packets were lost", count.lost, count.sent));
    }
    bench.seen.push(format!("{} packets, none lost", count.sent));
    drop((probe, _echo));
    bench.judge_wire()
}

fn has_child(bench: &Bench) -> bool {
    !bench.gateway.cli("show crypto ipsec sa").is_ok_and(|text| !text.contains("Status: ACTIVE"))
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
