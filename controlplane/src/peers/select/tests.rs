//! One test per row of the transition table and per resolved ambiguity.

use super::*;

const A: &str = "10.1.1.1";
const B: &str = "10.2.2.2";
const C: &str = "10.3.3.3";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn idle_default() -> IdleRule {
    IdleRule::resolve(Some((120, true)), None)
}

fn with_default(peers: &[&'static str]) -> Selection<&'static str> {
    Selection::new(peers.to_vec(), true, idle_default())
}

fn without_default(peers: &[&'static str]) -> Selection<&'static str> {
    Selection::new(peers.to_vec(), false, idle_default())
}

fn next(step: Step<&'static str>) -> Next<&'static str> {
    step.next
}

/// Brings the entry up with `peer`; the initiations to the peers before it fail.
fn up_with(selection: &mut Selection<&'static str>, now: Duration, peer: &'static str) {
    let mut step = selection.trigger(now);
    while let Next::Initiate(tried) = step.next {
        if tried == peer {
            let _ = selection.established(&peer);
            return;
        }
        step = selection.failed(&tried);
    }
    panic!("{peer} is not in the list");
}

#[test]
fn row_trigger_initiates_to_the_current_peer() {
    let mut selection = with_default(&[A, B]);
    assert_eq!(selection.displayed(), None, "no current peer before the first use");
    assert_eq!(next(selection.trigger(s(0))), Next::Initiate(A));
    assert_eq!(selection.displayed(), Some(&A));
    assert_eq!(next(selection.trigger(s(1))), Next::InProgress(A));
}

#[test]
fn row_no_peer_is_said() {
    assert_eq!(next(with_default(&[]).trigger(s(0))), Next::NoPeer);
}

#[test]
fn row_initiation_failure_advances_and_sticks() {
    for mut selection in [with_default(&[A, B]), without_default(&[A, B])] {
        let _ = selection.trigger(s(0));
        let step = selection.failed(&A);
        assert_eq!(step.next, Next::Initiate(B));
        assert_eq!(step.change, Some(Change { old: A, new: B, reason: Reason::InitFail }));
        let _ = selection.established(&B);
        selection.packet(s(100));
        assert_eq!(next(selection.trigger(s(101))), Next::Initiate(B), "sticky after success");
    }
}

#[test]
fn a_failure_report_about_another_peer_is_ignored() {
    let mut selection = with_default(&[A, B]);
    let _ = selection.trigger(s(0));
    assert_eq!(next(selection.failed(&B)), Next::Rest);
    assert_eq!(selection.current(), Some(&A));
    let _ = selection.established(&A);
    assert_eq!(next(selection.failed(&A)), Next::Rest, "no attempt, no failure");
}

#[test]
fn row_exhausted_with_default_returns_to_the_default() {
    let mut selection = with_default(&[A, B]);
    let _ = selection.trigger(s(0));
    let _ = selection.failed(&A);
    let step = selection.failed(&B);
    assert_eq!(step.next, Next::Exhausted(s(10)));
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::InitFail }));
    assert!(!selection.is_attempting());
}

#[test]
fn row_exhausted_without_default_ends_where_the_attempt_started() {
    let mut selection = without_default(&[A, B, C]);
    up_with(&mut selection, s(0), B);
    assert_eq!(next(selection.trigger(s(50))), Next::Initiate(B));
    assert_eq!(next(selection.failed(&B)), Next::Initiate(C));
    assert_eq!(next(selection.failed(&C)), Next::Initiate(A), "wraps");
    assert_eq!(next(selection.failed(&A)), Next::Exhausted(s(60)));
    assert_eq!(selection.current(), Some(&B));
}

#[test]
fn a6_at_most_one_cycle_in_ten_seconds_for_ever() {
    let mut selection = with_default(&[A, B]);
    for round in 0..100 {
        let start = s(1000 + 10 * round);
        assert_eq!(next(selection.trigger(start)), Next::Initiate(A), "round {round}");
        let _ = selection.failed(&A);
        assert_eq!(next(selection.failed(&B)), Next::Exhausted(start + s(10)));
        assert_eq!(next(selection.trigger(start + s(9))), Next::HoldUntil(start + s(10)));
    }
}

#[test]
fn a6_a_slow_cycle_does_not_delay_the_next_one() {
    let mut selection = with_default(&[A, B]);
    let _ = selection.trigger(s(0));
    let _ = selection.failed(&A);
    let _ = selection.failed(&B);
    assert_eq!(next(selection.trigger(s(120))), Next::Initiate(A));
}

#[test]
fn row_established_ends_the_attempt() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    assert!(!selection.is_attempting());
    assert_eq!(selection.current(), Some(&A));
}

#[test]
fn row_listed_peer_initiates_and_becomes_current() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    let step = selection.established(&B);
    assert_eq!(step.change, Some(Change { old: A, new: B, reason: Reason::PeerHeard }));
    assert_eq!(selection.displayed(), Some(&B));
}

#[test]
fn a_responder_that_never_initiated_shows_the_peer_that_came() {
    let mut selection = without_default(&[A, B]);
    let _ = selection.established(&B);
    assert_eq!(selection.displayed(), Some(&B));
    assert_eq!(selection.established(&"192.0.2.1").change, None, "not in the list");
    assert_eq!(selection.displayed(), Some(&B));
}

#[test]
fn a7_esp_from_another_peer_moves_the_flow_once_a_second() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    let step = selection.heard(s(5), &B, Standing::Active);
    assert_eq!(step.change, Some(Change { old: A, new: B, reason: Reason::PeerHeard }));
    assert_eq!(selection.heard(s(5), &A, Standing::Active).change, None, "within the second");
    assert!(selection.heard(s(6), &A, Standing::Active).change.is_some());
}

#[test]
fn a7_draining_and_standby_sas_never_move_the_flow() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    for standing in [Standing::Draining, Standing::Standby] {
        assert_eq!(selection.heard(s(5), &B, standing).change, None);
    }
    assert_eq!(selection.heard(s(5), &"192.0.2.1", Standing::Active).change, None);
}

#[test]
fn row_dpd_with_default_tries_the_default_again() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    assert_eq!(selection.dead(&A, None).change, None, "the default died, the default is next");
    assert_eq!(next(selection.trigger(s(23))), Next::Initiate(A));
    let _ = selection.failed(&A);
    let _ = selection.established(&B);
    let step = selection.dead(&B, None);
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::Dpd }));
}

#[test]
fn row_dpd_without_default_goes_to_the_next() {
    let mut selection = without_default(&[A, B, C]);
    up_with(&mut selection, s(0), B);
    let step = selection.dead(&B, None);
    assert_eq!(step.change, Some(Change { old: B, new: C, reason: Reason::Dpd }));
}

#[test]
fn row_dpd_with_a_survivor_uses_it_without_initiation() {
    for mut selection in [with_default(&[A, B, C]), without_default(&[A, B, C])] {
        up_with(&mut selection, s(0), A);
        let step = selection.dead(&A, Some(&C));
        assert_eq!(step.change, Some(Change { old: A, new: C, reason: Reason::Dpd }));
        assert_eq!(step.next, Next::Rest);
    }
}

#[test]
fn row_dpd_of_a_non_current_peer_leaves_the_cursor() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    assert_eq!(selection.dead(&B, Some(&A)), Step { change: None, next: Next::Rest });
}

#[test]
fn row_one_of_several_pairs_idles_out() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.idled(false).change, None);
    assert_eq!(selection.current(), Some(&B));
}

#[test]
fn row_the_last_pair_idles_out_with_default() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    let step = selection.idled(true);
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::IdleDefault }));
}

#[test]
fn a3_idle_default_without_a_default_peer_has_no_effect() {
    let mut selection = without_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.idled(true).change, None);
    selection.packet(s(10));
    assert_eq!(next(selection.trigger(s(999))), Next::Initiate(B));
}

#[test]
fn a3_set_peer_default_alone_gives_the_dpd_behaviour_only() {
    let mut selection = Selection::new(vec![A, B], true, IdleRule::resolve(Some((120, false)), None));
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.idled(true).change, None, "row: idle-time without default");
    assert!(selection.dead(&B, None).change.is_some());
}

#[test]
fn a19_the_global_idle_timer_never_leads_to_the_default() {
    let mut selection = Selection::new(vec![A, B], true, IdleRule::resolve(None, Some(120)));
    up_with(&mut selection, s(0), B);
    selection.packet(s(1));
    assert_eq!(selection.idled(true).change, None);
    assert_eq!(next(selection.trigger(s(999))), Next::Initiate(B));
}

#[test]
fn a5_delete_by_the_peer_leaves_the_cursor_but_the_idle_clock_runs() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    selection.packet(s(50));
    let mut early = selection.clone();
    assert_eq!(next(early.trigger(s(169))), Next::Initiate(B));
    let step = selection.trigger(s(170));
    assert_eq!(step.next, Next::Initiate(A));
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::IdleDefault }));
}

#[test]
fn a8_refused_rekey_counts_as_a_failed_initiation_when_the_sa_is_gone() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), A);
    let step = selection.expired_after_refused_rekey(&A);
    assert_eq!(step.change, Some(Change { old: A, new: B, reason: Reason::InitFail }));
}

#[test]
fn a8_unanswered_rekey_is_a_dead_peer() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.dead(&B, None).change.map(|change| change.new), Some(A));
}

#[test]
fn a10_clear_resets_to_the_default_when_nothing_is_left() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.cleared(false).change, None);
    let step = selection.cleared(true);
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::Clear }));
    let mut selection = without_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    assert_eq!(selection.cleared(true).change, None);
}

#[test]
fn a10_clear_lifts_the_wait_after_an_exhausted_cycle() {
    let mut selection = with_default(&[A]);
    let _ = selection.trigger(s(0));
    assert_eq!(next(selection.failed(&A)), Next::Exhausted(s(10)));
    let _ = selection.cleared(true);
    assert_eq!(next(selection.trigger(s(1))), Next::Initiate(A));
}

#[test]
fn row_reapplied_goes_to_the_first_peer() {
    let mut selection = without_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    let step = selection.reapplied();
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::Config }));
}

#[test]
fn row_edit_keeps_a_current_peer_that_stays_and_has_sas() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    let (step, removed) = selection.configure(vec![A, C, B], true, idle_default(), |peer| *peer == B);
    assert_eq!((step.change, removed), (None, vec![]));
    assert_eq!(selection.current(), Some(&B));
}

#[test]
fn row_edit_returns_to_the_first_peer_when_the_current_one_has_no_sas() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    let (step, _) = selection.configure(vec![A, B, C], true, idle_default(), |_| false);
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::Config }));
}

#[test]
fn row_edit_deletes_the_sas_of_a_removed_peer_only() {
    let mut selection = with_default(&[A, B, C]);
    up_with(&mut selection, s(0), B);
    let (step, removed) = selection.configure(vec![A, C], true, idle_default(), |_| true);
    assert_eq!(removed, vec![B]);
    assert_eq!(step.change, Some(Change { old: B, new: A, reason: Reason::Config }));
}

#[test]
fn row_edit_drops_the_attempt_but_an_edit_elsewhere_does_not() {
    let mut selection = with_default(&[A, B]);
    let _ = selection.trigger(s(0));
    let _ = selection.configure(vec![A, B], true, IdleRule::default(), |_| false);
    assert!(selection.is_attempting(), "only the idle timer changed");
    let _ = selection.configure(vec![A, B, C], true, IdleRule::default(), |_| false);
    assert!(!selection.is_attempting());
}

#[test]
fn a11_removing_the_default_peer_leaves_no_default() {
    let mut selection = with_default(&[A, B, C]);
    up_with(&mut selection, s(0), A);
    let (_, removed) = selection.configure(vec![B, C], false, idle_default(), |_| true);
    assert_eq!(removed, vec![A]);
    assert_eq!(selection.default_peer(), None);
    up_with(&mut selection, s(1), C);
    let _ = selection.dead(&C, None);
    assert_eq!(selection.current(), Some(&B), "wraps in list order, not to a default");
    assert_eq!(selection.idled(true).change, None);
}

#[test]
fn a13_a_single_default_peer_is_legal() {
    let mut selection = with_default(&[A]);
    up_with(&mut selection, s(0), A);
    let _ = selection.dead(&A, None);
    assert_eq!(next(selection.trigger(s(30))), Next::Initiate(A));
    assert_eq!(next(selection.failed(&A)), Next::Exhausted(s(40)));
}

#[test]
fn a14_idle_out_during_an_attempt_does_not_reset() {
    let mut selection = with_default(&[A, B]);
    let _ = selection.trigger(s(0));
    let _ = selection.failed(&A);
    assert_eq!(selection.idled(true).change, None);
    assert_eq!(selection.current(), Some(&B));
}

#[test]
fn a15_two_entries_have_cursors_of_their_own() {
    let mut first = with_default(&[A, B]);
    let mut second = with_default(&[B, A]);
    up_with(&mut first, s(0), B);
    up_with(&mut second, s(0), B);
    // A16: one IKE SA served both entries; its end is reported to each.
    let _ = first.dead(&B, None);
    let _ = second.dead(&B, None);
    assert_eq!((first.current(), second.current()), (Some(&A), Some(&B)));
}

#[test]
fn a21_clearing_the_flag_keeps_the_peer() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    let (_, removed) = selection.configure(vec![A, B], false, idle_default(), |_| true);
    assert!(removed.is_empty());
    assert_eq!(selection.current(), Some(&B));
    assert_eq!(selection.default_peer(), None);
}

#[test]
fn row_default_peer_comes_back_changes_nothing() {
    let mut selection = with_default(&[A, B]);
    up_with(&mut selection, s(0), B);
    for now in 0..10_000 {
        selection.packet(s(now));
        assert_eq!(selection.current(), Some(&B));
    }
}
