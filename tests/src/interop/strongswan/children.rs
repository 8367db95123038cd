//! Several children, narrowing.

use lab::Result;
use lab::peer::Release;

use crate::bench::{Bench, fail};
use crate::case::{BOTH, Case, Initiator, Opposite, RELEASES};

/// The peer's second network has a host too.
const SECOND_HOST: &str = "10.3.0.1";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            cases.push(two_children(release, initiator));
            cases.push(
                wide(release, initiator, "the stranger's selectors are narrower than ours")
                    .showing(&[], &["local  10.2.0.0/16", "remote 192.168.1.0/24"]),
            );
            cases.push(narrow(release, initiator));
        }
    }
    cases
}

/// Two permits of one entry are two children of one IKE SA.
fn two_children(release: Release, initiator: Initiator) -> Case {
    let mut case = Case::new("two permits, two children", Opposite::Namespace(release), initiator);
    case.template = "ikev2-two-children";
    case.ours.permits.push("ip 192.168.1.0 0.0.0.255 10.3.0.0 0.0.255.255".to_owned());
    case.playing(|bench| {
        let far = bench.stranger.namespace();
        far.ip(&["address", "add", &format!("{SECOND_HOST}/16"), "dev", "lo"])?;
        bench.raise()?;
        if bench.case.initiator == Initiator::Stranger {
            bench.initiate_child("net2")?;
        }
        let ping = ["-c", "3", "-i", "0.2", "-W", "10", SECOND_HOST];
        let text = bench.host.run("ping", &ping)?;
        if !text.contains("3 received") {
            return fail(&format!("the second child lost pings:\n{text}"));
        }
        bench.ping_both_ways()?;
        let theirs = bench.their_sas()?;
        let (sas, children) = (theirs.matches("ESTABLISHED").count(), theirs.matches("INSTALLED").count());
        if (sas, children) != (1, 2) {
            return fail(&format!("{sas} IKE SAs with {children} children:\n{theirs}"));
        }
        bench.ends_agree()?;
        bench.judge_wire()
    })
}

/// Our permit is wider than the peer's selectors.
fn wide(release: Release, initiator: Initiator, title: &str) -> Case {
    let mut case = Case::new(title, Opposite::Namespace(release), initiator);
    case.ours.permits = vec!["ip 192.168.0.0 0.0.255.255 10.0.0.0 0.255.255.255".to_owned()];
    case
}

/// The peer's selectors are wider than our permit: traffic outside of the permit is not sent in
/// clear by either end.
fn narrow(release: Release, initiator: Initiator) -> Case {
    Case::new("the stranger's selectors are wider than ours", Opposite::Namespace(release), initiator)
        .with(&["LOCAL_TS=10.0.0.0/8", "REMOTE_TS=192.168.0.0/16"])
        .showing(&[], &["local  10.2.0.0/16", "remote 192.168.1.0/24"])
        .playing(outside_nothing_passes)
}

fn outside_nothing_passes(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}
