use super::*;
use crate::edit::Environment;
use crate::file;

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

const BASE: &str = "
crypto ipsec transform-set ts esp-gcm
crypto ipsec transform-set other esp-gcm 256
crypto dynamic-map dyn 10
 set transform-set other
 match address 103
crypto map tohub 1 ipsec-isakmp
 set peer 10.1.1.1
 set transform-set ts
 match address 101
crypto map tohub 2 ipsec-isakmp
 set peer 10.2.2.2
 set transform-set ts
 match address 102
crypto map tohub 9 ipsec-isakmp dynamic dyn
interface GigabitEthernet0/1
 device outside
 crypto map tohub
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255
access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255
access-list 102 permit ip 192.168.1.0 0.0.0.255 192.168.4.0 0.0.0.255
access-list 103 permit ip 192.168.1.0 0.0.0.255 192.168.5.0 0.0.0.255
";

fn parse(text: &str) -> Configuration {
    file::parse("t", text, &mut NoWorld).unwrap().configuration
}

/// The review of a session that made `change`, and whether everything was restored.
fn review(change: impl FnOnce(&mut Configuration)) -> (Review, bool) {
    let before = parse(BASE);
    let mut now = before.clone();
    change(&mut now);
    let review = review_edits(&[&before], &mut now, &[]);
    (review, now == before)
}

fn body(now: &mut Configuration, seq: u16) -> &mut crate::model::EntryBody {
    &mut now.crypto_maps.get_mut("tohub").unwrap().entries.get_mut(&seq).unwrap().body
}

#[test]
fn each_deletion_that_opens_an_applied_map_is_put_back_with_place_and_remedy() {
    type Change = fn(&mut Configuration);
    let deletions: [(Change, &str); 11] = [
        (
            |now| drop(now.access_lists.remove("101")),
            "access list 101 is used by crypto map tohub 1 on GigabitEthernet0/1: not removed",
        ),
        (
            |now| {
                let list = now.access_lists.get_mut("102").unwrap();
                list.lines = vec![crate::model::AclLine::Remark("empty".into())];
            },
            "access list 102 is used by crypto map tohub 2 on GigabitEthernet0/1: its last permit",
        ),
        (
            |now| drop(now.crypto_maps.get_mut("tohub").unwrap().entries.remove(&2)),
            "crypto map tohub 2 is in force",
        ),
        (|now| drop(now.crypto_maps.remove("tohub")), "crypto map tohub is in use by GigabitEthernet0/1"),
        (
            |now| body(now, 1).match_address = None,
            "crypto map tohub 1 on GigabitEthernet0/1 has no access list left",
        ),
        (|now| body(now, 1).match_address = Some("199".into()), "has access list 199, which permits nothing"),
        (|now| body(now, 1).peers.clear(), "crypto map tohub 1 on GigabitEthernet0/1 has no peer left"),
        (
            |now| body(now, 2).transform_sets.clear(),
            "crypto map tohub 2 on GigabitEthernet0/1 has no transform set left",
        ),
        (
            |now| {
                now.transform_sets.remove("other");
            },
            "transform set other is named by crypto map tohub 9",
        ),
        (|now| drop(now.dynamic_maps.remove("dyn")), "dynamic map dyn 10 is used by crypto map tohub 9"),
        (|now| drop(now.access_lists.remove("103")), "access list 103 is used by crypto map tohub 9"),
    ];
    for (change, text) in deletions {
        let (review, as_before) = review(change);
        assert_eq!(review.refused.len(), 1, "{text}: {review:?}");
        assert!(
            review.refused[0].starts_with("%ERROR: ") && review.refused[0].contains(text),
            "{text}: {review:?}"
        );
        assert!(review.refused[0].contains("first"), "no remedy: {review:?}");
        assert!(as_before && review.lost.is_empty(), "{text}: {review:?}");
    }
}

#[test]
fn only_what_is_missing_is_put_back_and_every_other_edit_stays() {
    let before = parse(BASE);
    let mut now = before.clone();
    now.access_lists.remove("101");
    now.system.hostname = "edited".into();
    body(&mut now, 2).pfs = Some(crate::model::DhGroup(19));
    let wanted = now.clone();
    review_edits(&[&before], &mut now, &[]);
    assert_eq!(now.access_lists, before.access_lists);
    assert_eq!((&now.system, &now.crypto_maps), (&wanted.system, &wanted.crypto_maps));
}

#[test]
fn a_deletion_that_leaves_nothing_less_protected_stays() {
    let (review, as_before) = review(|now| {
        let same = now.crypto_maps["tohub"].entries[&2].clone();
        let entries = &mut now.crypto_maps.get_mut("tohub").unwrap().entries;
        entries.insert(3, same);
        entries.remove(&2);
    });
    assert_eq!((review, as_before), (Review::default(), false));
}

#[test]
fn a_shorter_list_is_taken_and_each_lost_permit_is_named() {
    let (review, as_before) = review(|now| now.access_lists.get_mut("101").unwrap().lines.truncate(1));
    assert!(!as_before && review.refused.is_empty());
    assert_eq!(
        review.lost,
        [
            "\"permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255\" of access list 101 (crypto map tohub 1) leaves in \
          clear by GigabitEthernet0/1"
        ]
    );
    let another = |now: &mut Configuration| body(now, 1).match_address = Some("102".into());
    let (review, _) = self::review(another);
    assert_eq!((review.refused.len(), review.lost.len()), (0, 2), "another list is a decision: {review:?}");
}

#[test]
fn a_map_that_is_taken_off_is_a_decision_and_the_names_are_bounded() {
    let many: String =
        (0..20).map(|net| format!("access-list 101 permit ip any 10.0.{net}.0 0.0.0.255\n")).collect();
    let before = parse(&(BASE.to_owned() + &many));
    let mut now = before.clone();
    now.interfaces.values_mut().for_each(|interface| interface.crypto_map = None);
    now.crypto_maps.clear();
    let review = review_edits(&[&before], &mut now, &[]);
    assert!(review.refused.is_empty() && now.crypto_maps.is_empty(), "{review:?}");
    assert_eq!(review.lost.len(), NAMED + 1);
    assert_eq!(review.lost[NAMED], "and 16 more");
}

#[test]
fn a_map_with_fail_close_loses_nothing_when_it_is_taken_off() {
    let before = parse(&BASE.replace("interface Gig", "crypto map tohub fail-close\ninterface Gig"));
    let mut now = before.clone();
    now.interfaces.values_mut().for_each(|interface| interface.crypto_map = None);
    assert_eq!(review_edits(&[&before], &mut now, &[]), Review::default());
    now.crypto_maps.get_mut("tohub").unwrap().fail_close = false;
    assert_eq!(review_edits(&[&before], &mut now, &[]).lost.len(), 4);
}

#[test]
fn what_another_open_session_began_with_is_not_lost_yet() {
    let before = parse(BASE);
    let mut now = before.clone();
    now.access_lists.remove("101");
    body(&mut now, 2).peers.clear();
    let edited = now.clone();
    let review = review_edits(&[&before], &mut now, &[&before]);
    assert_eq!(now, edited, "the other one is in the middle of it, perhaps");
    assert!(review.refused.is_empty() && review.lost.is_empty());
    assert!(review.notes[0].contains("another session is in configuration mode"), "{review:?}");
    // The baseline of a disconnected session is reviewed by the next session.
    let review = review_edits(&[&edited, &before], &mut now, &[]);
    assert_eq!(review.refused.len(), 2, "{review:?}");
    assert_eq!(now, before);
}

#[test]
fn an_entry_that_selects_nothing_and_a_map_that_is_not_applied_need_nothing() {
    let idle = BASE.replace(" crypto map tohub\n", "");
    let before = parse(&idle);
    let mut now = before.clone();
    now.access_lists.clear();
    assert_eq!(review_edits(&[&before], &mut now, &[]), Review::default());
    let before = parse(&BASE.replace("match address 102", "match address 177"));
    let mut now = before.clone();
    now.crypto_maps.get_mut("tohub").unwrap().entries.remove(&2);
    assert_eq!(review_edits(&[&before], &mut now, &[]), Review::default());
}
