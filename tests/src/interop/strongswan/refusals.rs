//! Tunnels that must not come up: the reason is logged, and they come up once the configuration is
//! corrected.

use lab::Result;
use lab::command::{output, wait_for};
use lab::peer::KEY;

use crate::bench::{Bench, FAR_HOST, fail};
use crate::case::{BOTH, Case, Initiator, Opposite, RELEASES, Wire, isakmp};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            let new = |title: &str| {
                let mut case = Case::new(title, Opposite::Namespace(release), initiator);
                case.wire = Wire::Nothing;
                case
            };
            cases.push(
                new("the keys differ")
                    .with(&["PSK=another-key"])
                    .playing(|bench| refused(bench, &["authentication failed", "could not authenticate"])),
            );
            let mut ike =
                new("no common IKE proposal").playing(|bench| refused(bench, &["no proposal chosen"]));
            ike.ours.ike = isakmp("aes 256", "sha256", 20);
            cases.push(ike);
            cases.push(
                new("no common ESP proposal")
                    .with(&["ESP=aes256gcm16"])
                    .playing(|bench| refused(bench, &["no proposal chosen"])),
            );
            cases.push(
                new("no common selectors")
                    .with(&["REMOTE_TS=192.168.77.0/24"])
                    .playing(|bench| refused(bench, &["traffic selectors unacceptable"])),
            );
            cases.push(new("the stranger is called otherwise").with(&["LOCAL_ID=somebody.example"]).playing(
                |bench| {
                    refused(bench, &["the peer's identity is not", "could not authenticate somebody.example"])
                },
            ));
            let mut mended = Case::new("the key is mended", Opposite::Namespace(release), initiator);
            mended.ours.ike = mended.ours.ike.replace(KEY, "mistyped");
            cases.push(mended.playing(the_key_is_mended));
        }
    }
    cases
}

/// Nothing comes up, and our log contains one of these texts.
fn refused(bench: &mut Bench, reasons: &[&str]) -> Result<()> {
    attempt_in_vain(bench)?;
    let said = wait_for("a line in our log", 10, || {
        let log = bench.gateway.log();
        log.lines()
            .filter(|line| {
                ["NEG_ABORT", "refused", "could not authenticate"].iter().any(|word| line.contains(word))
            })
            .find(|line| reasons.iter().any(|reason| line.contains(reason)))
            .map(str::to_owned)
    })?;
    let said =
        said.split_once("ERROR: ").or_else(|| said.split_once("WARN ")).map_or("", |(_, reason)| reason);
    bench.seen.push(format!("“{}”", said.split(" peer=").next().unwrap_or_default().trim()));
    let ours = bench.our_sas()?;
    let theirs = bench.their_sas()?;
    if ours.contains("Status: ACTIVE") || theirs.contains("INSTALLED") {
        return fail(&format!("there is a child:\n{ours}\n{theirs}"));
    }
    bench.judge_wire()
}

fn attempt_in_vain(bench: &Bench) -> Result<()> {
    let came = match bench.case.initiator {
        Initiator::Tohub => bench.is_answered(FAR_HOST)?,
        Initiator::Stranger => {
            let mut command = bench.stranger.program().command(&[
                "swanctl",
                "--initiate",
                "--child",
                "net",
                "--timeout",
                "10",
            ]);
            output(&mut command)?.status.success()
        }
    };
    if came { fail("the tunnel came up") } else { Ok(()) }
}

fn the_key_is_mended(bench: &mut Bench) -> Result<()> {
    attempt_in_vain(bench)?;
    bench.gateway.configure(&[
        "no crypto isakmp key mistyped address 192.0.2.2",
        &format!("crypto isakmp key {KEY} address 192.0.2.2"),
    ])?;
    match bench.case.initiator {
        // The peer list is retried after ten seconds at the earliest.
        Initiator::Tohub => wait_for("the tunnel", 25, || bench.ping_from_host(1, 2).ok())?,
        Initiator::Stranger => bench.initiate_child("net")?,
    }
    bench.wait_until_up()?;
    bench.ping_both_ways()?;
    bench.ends_agree()?;
    bench.judge_wire()
}
