//! Tests of sessions by their intents: several flows, several peers, rekeys, edits.

use super::*;
use crate::peers::select::Reason;

const A: &str = "10.1.1.1";
const B: &str = "10.2.2.2";
const P1: PolicyId = PolicyId(1);
const P2: PolicyId = PolicyId(2);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peer(text: &str) -> Peer {
    Peer::Address(text.parse().unwrap())
}

fn example() -> Session {
    Session::new(vec![peer(A), peer(B)], true, IdleRule::resolve(Some((120, true)), None))
}

fn did(act: impl FnOnce(&mut Vec<Intent>)) -> Vec<Intent> {
    let mut intents = Vec::new();
    act(&mut intents);
    intents
}

fn initiate(to: &str, policy: PolicyId) -> Intent {
    Intent::Initiate { peer: peer(to), policy }
}

fn up(session: &mut Session, now: u64, id: u64, policy: PolicyId, with: &str) -> Vec<Intent> {
    did(|out| session.child_up(s(now), ChildId(id), policy, &peer(with), out))
}

#[test]
fn a_packet_starts_ike_and_the_child_carries_the_flow() {
    let mut session = example();
    assert_eq!(session.state(), State::Idle);
    assert_eq!(did(|out| session.acquire(s(0), P1, out)), [initiate(A, P1)]);
    assert_eq!(session.state(), State::Initiating);
    assert_eq!(did(|out| session.acquire(s(1), P1, out)), [], "the attempt runs already");
    assert_eq!(up(&mut session, 2, 1, P1, A), [Intent::Outbound { policy: P1, pair: Some(ChildId(1)) }]);
    assert_eq!(session.state(), State::Up);
    assert_eq!(session.pending().count(), 0);
}

#[test]
fn a_second_flow_waits_for_the_first_and_then_goes_to_the_same_peer() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    assert_eq!(did(|out| session.acquire(s(0), P2, out)), []);
    let intents = up(&mut session, 1, 1, P1, A);
    assert_eq!(intents, [Intent::Outbound { policy: P1, pair: Some(ChildId(1)) }, initiate(A, P2)]);
}

#[test]
fn exhaustion_drops_what_is_held_and_the_next_packet_waits_for_the_pause() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    assert_eq!(did(|out| session.initiation_failed(s(1), &peer(A), out)).last(), Some(&initiate(B, P1)));
    let intents = did(|out| session.initiation_failed(s(2), &peer(B), out));
    assert!(intents.contains(&Intent::DropHeld { policy: P1 }));
    assert_eq!(session.state(), State::Exhausted);
    assert_eq!(did(|out| session.acquire(s(3), P1, out)), []);
    assert_eq!(session.deadline(), Some(s(10)));
    assert_eq!(did(|out| session.handle_timeout(s(10), out)), [initiate(A, P1)]);
}

#[test]
fn a_dead_peer_leaves_its_flows_without_sa_and_the_default_is_next() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    did(|out| session.initiation_failed(s(1), &peer(A), out));
    up(&mut session, 2, 7, P1, B);
    let mut gone = Vec::new();
    let intents = did(|out| gone = session.peer_dead(s(50), &peer(B), out));
    assert_eq!(gone, [ChildId(7)]);
    assert_eq!(intents[0], Intent::Outbound { policy: P1, pair: None });
    assert_eq!(intents[1].reason(), Some(Reason::Dpd));
    assert_eq!(did(|out| session.acquire(s(51), P1, out)), [initiate(A, P1)]);
}

#[test]
fn a_survivor_takes_the_flow_without_initiation() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    up(&mut session, 1, 1, P1, A);
    up(&mut session, 2, 2, P1, B);
    assert_eq!(session.outbound(P1), Some(ChildId(2)), "the newest pair");
    let intents = did(|out| {
        session.peer_dead(s(30), &peer(B), out);
    });
    assert!(intents.contains(&Intent::Outbound { policy: P1, pair: Some(ChildId(1)) }));
    assert!(!intents.iter().any(|intent| matches!(intent, Intent::Initiate { .. })));
    assert_eq!(session.selection().current(), Some(&peer(A)));
}

#[test]
fn scenario_9_a_peer_that_connects_ends_our_own_attempt() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    let intents = up(&mut session, 1, 1, P1, B);
    assert!(intents.contains(&Intent::Abandon { peer: peer(A) }));
    assert_eq!(session.selection().displayed(), Some(&peer(B)));
    assert_eq!(did(|out| session.initiation_failed(s(2), &peer(A), out)), []);
}

#[test]
fn a7_the_flow_follows_the_peer_heard_last() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    up(&mut session, 1, 1, P1, A);
    up(&mut session, 2, 2, P1, B);
    did(|out| session.activity(s(3), ChildId(2), Some(s(3)), None, out));
    let intents = did(|out| session.activity(s(10), ChildId(1), Some(s(10)), None, out));
    assert!(intents.contains(&Intent::Outbound { policy: P1, pair: Some(ChildId(1)) }));
    assert_eq!(session.selection().current(), Some(&peer(A)));
    assert_eq!(
        did(|out| session.activity(s(10), ChildId(2), Some(s(10)), None, out)),
        [],
        "not later than the carrier, and within the second"
    );
}

#[test]
fn a7_each_flow_follows_by_itself_although_the_cursor_is_there_already() {
    let mut session = example();
    for policy in [P1, P2] {
        did(|out| session.acquire(s(0), policy, out));
    }
    up(&mut session, 1, 1, P1, A);
    up(&mut session, 1, 2, P2, A);
    up(&mut session, 2, 3, P1, B);
    assert_eq!(session.outbound(P2), Some(ChildId(2)));
    up(&mut session, 3, 4, P2, B);
    did(|out| session.activity(s(10), ChildId(2), Some(s(10)), None, out));
    assert_eq!(session.outbound(P2), Some(ChildId(2)));
    did(|out| session.activity(s(12), ChildId(4), Some(s(12)), None, out));
    assert_eq!(session.outbound(P2), Some(ChildId(4)));
}

#[test]
fn a_rekey_keeps_the_flow_and_the_idle_clock() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    up(&mut session, 0, 1, P1, A);
    did(|out| session.activity(s(50), ChildId(1), Some(s(50)), Some(s(50)), out));
    let intents = did(|out| session.child_rekeyed(s(100), ChildId(1), ChildId(2), true, out));
    assert_eq!(intents, [Intent::Outbound { policy: P1, pair: Some(ChildId(2)) }]);
    did(|out| session.child_gone(s(101), ChildId(1), out));
    assert_eq!(session.outbound(P1), Some(ChildId(2)));
    assert_eq!(session.deadline(), Some(s(170)), "a rekey is not traffic");
}

#[test]
fn the_responder_of_a_rekey_switches_when_the_peer_uses_the_new_sa() {
    let mut session = example();
    up(&mut session, 0, 1, P1, A);
    assert_eq!(did(|out| session.child_rekeyed(s(10), ChildId(1), ChildId(2), false, out)), []);
    assert_eq!(session.outbound(P1), Some(ChildId(1)));
    let mut by_traffic = session.clone();
    did(|out| by_traffic.activity(s(11), ChildId(2), Some(s(11)), None, out));
    assert_eq!(by_traffic.outbound(P1), Some(ChildId(2)));
    did(|out| session.outbound_ready(ChildId(2), out));
    assert_eq!(session.outbound(P1), Some(ChildId(2)));
}

#[test]
fn idle_out_closes_the_pair_and_a_draining_one_does_not_count() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    did(|out| session.initiation_failed(s(0), &peer(A), out));
    up(&mut session, 0, 1, P1, B);
    did(|out| session.child_rekeyed(s(60), ChildId(1), ChildId(2), true, out));
    assert_eq!(did(|out| session.handle_timeout(s(119), out)), []);
    let intents = did(|out| session.handle_timeout(s(120), out));
    assert!(intents.contains(&Intent::CloseChild { pair: ChildId(2), why: Close::Idle }));
    assert_eq!(intents.last().and_then(Intent::reason), Some(Reason::IdleDefault));
}

#[test]
fn one_of_two_flows_idles_out_and_the_cursor_stays() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    did(|out| session.initiation_failed(s(0), &peer(A), out));
    up(&mut session, 0, 1, P1, B);
    up(&mut session, 0, 2, P2, B);
    did(|out| session.activity(s(100), ChildId(2), None, Some(s(100)), out));
    let intents = did(|out| session.handle_timeout(s(120), out));
    assert_eq!(
        intents,
        [
            Intent::Outbound { policy: P1, pair: None },
            Intent::CloseChild { pair: ChildId(1), why: Close::Idle }
        ]
    );
    assert_eq!(session.selection().current(), Some(&peer(B)));
}

#[test]
fn a8_a_refused_rekey_moves_the_cursor_when_the_last_sa_expires() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    up(&mut session, 0, 1, P1, A);
    session.rekey_refused(&peer(A));
    let intents = did(|out| session.child_gone(s(3600), ChildId(1), out));
    assert_eq!(intents.last().and_then(Intent::reason), Some(Reason::InitFail));
    assert_eq!(session.selection().current(), Some(&peer(B)));
}

#[test]
fn editing_the_peer_list_closes_the_sas_of_removed_peers_only() {
    let mut session = example();
    up(&mut session, 0, 1, P1, A);
    up(&mut session, 1, 2, P2, B);
    let rule = session.idle_rule();
    let intents = did(|out| session.configure(s(5), vec![peer(B)], false, rule, out));
    assert!(intents.contains(&Intent::CloseChild { pair: ChildId(1), why: Close::Config }));
    assert!(!intents.contains(&Intent::CloseChild { pair: ChildId(2), why: Close::Config }));
    assert_eq!(session.selection().current(), Some(&peer(B)));
}

#[test]
fn editing_the_peer_list_during_an_attempt_starts_again_with_the_waiting_flow() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    let rule = session.idle_rule();
    let intents = did(|out| session.configure(s(1), vec![peer(B), peer(A)], false, rule, out));
    assert!(intents.contains(&Intent::Abandon { peer: peer(A) }));
    assert!(intents.contains(&initiate(B, P1)));
}

#[test]
fn policies_that_are_gone_take_their_pairs_along() {
    let mut session = example();
    up(&mut session, 0, 1, P1, A);
    up(&mut session, 0, 2, P2, A);
    let mut gone = Vec::new();
    did(|out| gone = session.retain_policies(|policy| policy == P2, out));
    assert_eq!(gone, [ChildId(1)]);
    assert_eq!(session.pairs().count(), 1);
}

#[test]
fn clear_with_default_goes_home_and_tries_the_waiting_flow_at_once() {
    let mut session = example();
    did(|out| session.acquire(s(0), P1, out));
    did(|out| session.initiation_failed(s(0), &peer(A), out));
    up(&mut session, 0, 1, P1, B);
    did(|out| session.child_gone(s(9), ChildId(1), out));
    let intents = did(|out| session.cleared(s(9), out));
    assert_eq!(intents.last().and_then(Intent::reason), Some(Reason::Clear));
    assert_eq!(did(|out| session.acquire(s(10), P1, out)), [initiate(A, P1)]);
}
