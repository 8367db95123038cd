//! Cases with a NAT in front of either end.

use lab::Result;
use lab::command::sleep_ms;
use lab::namespace::Namespace;
use lab::peer::Release;

use crate::bench::{Bench, OURS, THEIRS, fail};
use crate::case::{BOTH, Case, Initiator, Nat, Opposite, RELEASES, Wire};
use crate::plays;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for (nat, whose) in [(Nat::Ours, "tohub"), (Nat::Theirs, "the stranger")] {
            for initiator in BOTH {
                cases.push(
                    case(&format!("{whose} is behind a NAT"), release, initiator, nat)
                        .playing(plays::transfer),
                );
            }
            let inner = if nat == Nat::Ours { Initiator::Tohub } else { Initiator::Stranger };
            let mut moves = case(
                &format!("{whose} is behind a NAT that forgets, and has another port then"),
                release,
                inner,
                nat,
            )
            .playing(the_port_changes);
            moves.long = true;
            cases.push(moves);
        }
    }
    cases
}

fn case(title: &str, release: Release, initiator: Initiator, nat: Nat) -> Case {
    let mut case = Case::new(title, Opposite::Namespace(release), initiator)
        .showing(&["UDP-Encaps", "NAT-T is detected"], &["-in-UDP"]);
    case.nat = nat;
    case.wire = Wire::Udp;
    case
}

/// RFC 7296 §2.23: the end without a NAT follows the other one to its new port, which it learns
/// from an authentic packet.
fn the_port_changes(bench: &mut Bench) -> Result<()> {
    bench.raise()?;
    bench.ping_both_ways()?;
    let Some(router) = &bench.router else { return fail("no router") };
    remember_for(router, 1)?;
    bench.ping_both_ways()?;
    take_another_port(router)?;
    // The end behind the NAT must send first: before that there is no mapping.
    for attempt in 0.. {
        let answered = if bench.case.nat == Nat::Ours {
            bench.ping_from_host(1, 2).is_ok()
        } else {
            bench.ping_from_stranger(1).is_ok()
        };
        if answered {
            break;
        }
        if attempt == 15 {
            return fail("nothing passes any more after the change of the port");
        }
    }
    bench.ping_both_ways()?;
    // Both ends still agree, and the one without a NAT has the new port.
    bench.ends_agree()?;
    let (list, moved) = if bench.case.nat == Nat::Ours {
        (bench.their_sas()?, format!("{OURS}[20"))
    } else {
        (bench.our_sas()?, format!("{THEIRS}/20"))
    };
    if !list.contains(&moved) {
        return fail(&format!("`{moved}...` is not in\n{list}"));
    }
    bench.judge_wire()
}

/// Sets the lifetime of NAT mappings created from now on.
fn remember_for(router: &Namespace, seconds: u32) -> Result<()> {
    for timeout in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
        router.sysctl(&format!("net/netfilter/{timeout}"), &seconds.to_string())?;
    }
    Ok(())
}

/// Without traffic the mapping expires; the next one gets a port of another range.
fn take_another_port(router: &Namespace) -> Result<()> {
    router.run("nft", &["flush chain ip nat out"])?;
    router.run("nft", &["flush chain ip nat in"])?;
    router.run("nft", &["add rule ip nat out oifname outer meta l4proto udp masquerade to :20000-20999"])?;
    sleep_ms(3500)?;
    remember_for(router, 120)
}
