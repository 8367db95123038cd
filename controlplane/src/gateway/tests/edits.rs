//! Sessions in configuration mode: protection must not shrink before they leave it.

use std::sync::Arc;

use config::control::{Format, Request, Response};
use config::shell::Shell;
use sa_table::Action;

use super::*;
use crate::operator::{Facts, Operator, Progress, Work};

const PERMIT: &str = "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255\n";
const OTHER: &str = "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255\n";

fn begin(gateway: &mut Gateway, session: SessionNumber) -> Option<String> {
    let before = Arc::new(gateway.configuration().clone());
    gateway.begin_edit(session, before)
}

/// The number of rules that protect or drop, for each device with a rule list.
fn closed(gateway: &Gateway) -> Vec<(String, usize)> {
    let lists = gateway.plan.ports.iter().filter_map(|port| Some((port, port.rule_list?)));
    lists
        .map(|(port, list)| {
            let rules = gateway.plan.rules[list as usize].iter();
            (port.device.clone(), rules.filter(|rule| !matches!(rule.action, Action::Jump(_))).count())
        })
        .collect()
}

fn outside(rules: usize) -> Vec<(String, usize)> {
    vec![("outside".to_owned(), rules)]
}

#[test]
fn a_list_that_is_replaced_goes_on_protecting_with_the_same_sa() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, MANUAL);
    let reader = segments.table_reader().unwrap();
    let slot = reader.lookup_spi(500);
    let policy = *gateway.plan.policies.keys().next().unwrap();
    begin(&mut gateway, 1);
    for gone in [PERMIT, " match address 101\n", " set peer 10.1.1.1\n"] {
        configure(&mut gateway, &MANUAL.replace(gone, ""));
        assert_eq!(gateway.plan.rules[0][0].action, Action::Protect(policy), "without {gone}");
        assert_eq!(reader.lookup_spi(500), slot, "without {gone}");
    }
    configure(&mut gateway, MANUAL);
    assert_eq!(closed(&gateway), outside(1), "retyped: the new list alone");
    assert!(slot.is_some() && reader.lookup_spi(500) == slot && reader.policy_word(policy).is_some());
    // The entry has one pair, now that of the new permit; traffic of the old permit is dropped.
    configure(&mut gateway, &MANUAL.replace(PERMIT, OTHER));
    let actions: Vec<Action> = gateway.plan.rules[0].iter().map(|rule| rule.action).collect();
    assert!(matches!(actions[..], [Action::Drop, Action::Protect(_)]), "{actions:?}");
    gateway.end_edit(NOW, 1);
    assert_eq!(closed(&gateway), outside(1));
}

#[test]
fn the_session_of_a_removed_entry_lives_until_configuration_mode_is_left() {
    let segments = Segments::in_memory().unwrap();
    let whole = text(" set peer 10.1.1.1\n");
    let mut gateway = gateway(&segments, &whole);
    let key = gateway.plan.entries.keys().next().unwrap().clone();
    let policy = *gateway.plan.policies.keys().next().unwrap();
    begin(&mut gateway, 1);
    let without = |part: &str| whole.replace(part, "");
    for gone in [
        PERMIT,
        " set peer 10.1.1.1\n",
        " set transform-set ts\n",
        " match address 101\n",
        " crypto map tohub\n",
    ] {
        configure(&mut gateway, &without(gone));
        assert!(closed(&gateway)[0].1 >= 1, "without {gone}");
        assert_eq!(gateway.plan.rules[0][0].action, Action::Protect(policy), "without {gone}");
        assert!(gateway.peers.session(&key).is_some() && !gateway.connections.is_empty(), "without {gone}");
    }
    let wider = whole.replace(PERMIT, OTHER);
    configure(&mut gateway, &wider);
    assert_eq!(closed(&gateway), outside(2), "both lists");
    assert_eq!(gateway.plan.entries[&key].policies.len(), 2);
    gateway.end_edit(NOW, 1);
    assert_eq!(closed(&gateway), outside(1));
    assert!(!gateway.plan.policies.contains_key(&policy), "the old permit is gone");
    configure(&mut gateway, &without(PERMIT));
    assert_eq!(closed(&gateway), outside(0), "no session is in configuration mode any more");
}

#[test]
fn peers_may_propose_what_a_dynamic_map_permitted_until_configuration_mode_is_left() {
    let segments = Segments::in_memory().unwrap();
    let whole = text(" set peer 10.1.1.1\n")
        .replace("crypto map tohub 1 ipsec-isakmp\n", "crypto dynamic-map any 1\n")
        .replace(" set peer 10.1.1.1\n", "")
        .replace("interface ", "crypto map tohub 1 ipsec-isakmp dynamic any\ninterface ");
    let mut gateway = gateway(&segments, &whole);
    let permits = |gateway: &Gateway| {
        gateway.plan.templates.iter().flat_map(|one| one.permits.clone()).collect::<Vec<_>>()
    };
    let before = permits(&gateway);
    assert_eq!(before.len(), 1, "{:?}", gateway.plan.notes);
    begin(&mut gateway, 1);
    configure(&mut gateway, &whole.replace(PERMIT, ""));
    assert_eq!(permits(&gateway), before);
    configure(&mut gateway, &whole.replace(PERMIT, OTHER));
    assert_eq!(permits(&gateway)[..1], before);
    assert_eq!(permits(&gateway).len(), 2);
    configure(&mut gateway, &whole.replace(PERMIT, &(PERMIT.to_owned() + OTHER)));
    gateway.end_edit(NOW, 1);
    assert_eq!((permits(&gateway)[0].clone(), permits(&gateway).len()), (before[0].clone(), 2));
}

#[test]
fn an_interface_keeps_its_list_however_it_is_taken_out_of_protection() {
    let whole = text(" set peer 10.1.1.1\n");
    for (from, to) in [
        (" crypto map tohub\n", ""),
        (" device outside\n crypto map tohub\n", " device elsewhere\n crypto map tohub\n"),
        (" device outside\n", " device outside\n shutdown\n"),
        ("interface GigabitEthernet0/1\n device outside\n crypto map tohub\n", ""),
        ("GigabitEthernet0/1", "GigabitEthernet0/7"),
    ] {
        let segments = Segments::in_memory().unwrap();
        let mut gateway = gateway(&segments, &whole);
        begin(&mut gateway, 1);
        configure(&mut gateway, &whole.replace(from, to));
        let kept = closed(&gateway).into_iter().find(|(device, _)| device == "outside");
        assert!(kept.is_some_and(|(_, rules)| rules >= 1), "{from} -> {to}: {:?}", closed(&gateway));
        assert!(gateway.plan.rules.iter().flatten().any(|rule| matches!(rule.action, Action::Protect(_))));
        gateway.end_edit(NOW, 1);
        let device = gateway.plan.ports.iter().filter(|port| port.device == "outside").count();
        assert!(device <= 1, "{from} -> {to}");
    }
}

#[test]
fn several_sessions_protect_the_union_of_what_each_began_with() {
    let segments = Segments::in_memory().unwrap();
    let whole = text(" set peer 10.1.1.1\n");
    let mut gateway = gateway(&segments, &whole);
    begin(&mut gateway, 1);
    configure(&mut gateway, &whole.replace(PERMIT, &(PERMIT.to_owned() + OTHER)));
    begin(&mut gateway, 2);
    configure(&mut gateway, &whole.replace(PERMIT, ""));
    assert_eq!(closed(&gateway), outside(2), "the second list has the first one's line");
    assert_eq!(gateway.other_baselines(1).open.len(), 1);
    gateway.end_edit(NOW, 1);
    assert_eq!(closed(&gateway), outside(2));
    gateway.end_edit(NOW, 2);
    assert_eq!(closed(&gateway), outside(0));
}

#[test]
fn a_session_that_is_cut_off_in_the_middle_leaves_the_old_list_in_force() {
    let segments = Segments::in_memory().unwrap();
    let whole = text(" set peer 10.1.1.1\n");
    let mut gateway = gateway(&segments, &whole);
    let command = config::command::ShowCommand::CryptoMap(config::command::Filter::default());
    begin(&mut gateway, 1);
    configure(&mut gateway, &whole.replace(PERMIT, OTHER));
    outputs(&mut gateway);
    gateway.abandon_edit(1);
    assert_eq!(closed(&gateway), outside(2));
    let said = outputs(&mut gateway).2;
    assert!(said.len() == 1 && said[0].contains("ended inside configuration mode"), "{said:?}");
    assert!(
        gateway.show(NOW, &command).unwrap().contains("\nNOTE: a session ended inside configuration mode")
    );
    let note = begin(&mut gateway, 2).unwrap();
    assert!(note.starts_with("%NOTE: a session ended inside"), "{note}");
    assert_eq!(gateway.other_baselines(2).cut.len(), 1, "it is reviewed with the next one");
    gateway.end_edit(NOW, 2);
    assert_eq!(closed(&gateway), outside(1));
    assert!(!gateway.show(NOW, &command).unwrap().contains("NOTE: a session"));
}

#[test]
fn a_session_that_ends_without_leaving_and_took_nothing_away_leaves_nothing_behind() {
    let segments = Segments::in_memory().unwrap();
    let whole = text(" set peer 10.1.1.1\n");
    let mut gateway = gateway(&segments, &whole);
    begin(&mut gateway, 1);
    configure(&mut gateway, &whole.replace(PERMIT, &(PERMIT.to_owned() + OTHER)));
    gateway.abandon_edit(1);
    gateway.abandon_edit(7);
    assert!(!gateway.has_cut_edits() && begin(&mut gateway, 2).is_none());
}

/// A session of the control socket.
struct Typist {
    shell: Shell,
    facts: Facts,
    number: SessionNumber,
}

impl Typist {
    fn new(number: SessionNumber) -> Self {
        let facts = Facts {
            run_dir: "/nonexistent".into(),
            config_file: "/nonexistent/config".into(),
            started: std::time::Instant::now(),
            log: std::collections::VecDeque::new(),
            time_scale: 1,
            material: crate::pki::Material::default(),
            interfaces_wait: false,
            debugs_ike: false,
            brought_up: None,
        };
        Typist { shell: Shell::new(15), facts, number }
    }

    fn with_operator<R>(
        &mut self,
        gateway: &mut Gateway,
        act: impl FnOnce(&mut Operator<'_>, &mut Shell) -> R,
    ) -> R {
        let mut operator = Operator {
            gateway,
            facts: &mut self.facts,
            now: NOW,
            kernel_is_stale: &mut false,
            sessions: 1,
            session: self.number,
        };
        act(&mut operator, &mut self.shell)
    }

    fn types(&mut self, gateway: &mut Gateway, line: &str) -> Response {
        self.pastes(gateway, &[line]).remove(0)
    }

    /// The responses to lines sent in one batch.
    fn pastes(&mut self, gateway: &mut Gateway, lines: &[&str]) -> Vec<Response> {
        let replies = self.with_operator(gateway, |operator, shell| {
            let mut progresses: Vec<Progress> =
                lines.iter().map(|text| operator.request(shell, line(text))).collect();
            progresses.push(operator.flush(shell));
            while let Some(told) = progresses.last_mut().and_then(|last| last.committed.take()) {
                progresses.push(operator.tell(shell, told));
            }
            assert!(progresses.iter().all(|one| one.work.is_none()), "{progresses:?}");
            progresses.into_iter().flat_map(|one| one.replies).collect::<Vec<_>>()
        });
        assert_eq!(replies.len(), lines.len());
        replies
    }
}

fn line(text: &str) -> Request {
    Request::Line { line: text.to_owned(), format: Format::Text }
}

#[test]
fn lines_that_come_together_are_published_once_and_those_that_select_nothing_never() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let reader = segments.table_reader().unwrap();
    let mut one = Typist::new(1);
    one.types(&mut gateway, "configure terminal");
    let before = reader.policy_version().0;
    let lines = ["crypto map tohub 2 ipsec-isakmp", "set peer 10.1.1.2", "set transform-set ts"];
    one.pastes(&mut gateway, &lines);
    assert_eq!(gateway.configuration().entry("tohub", 2).unwrap().body.peers.len(), 1);
    assert_eq!(reader.policy_version().0, before, "the entry selects nothing yet");
    let replies = one.pastes(
        &mut gateway,
        &[
            "match address 102",
            "no such line",
            "access-list 102 permit ip host 10.0.0.1 host 10.0.0.2",
            "access-list 102 permit ip host 10.0.0.1 host 10.0.0.3",
        ],
    );
    assert_eq!(replies.iter().filter(|reply| reply.status.is_ok()).count(), 3);
    assert_eq!(reader.policy_version().0, before + 1);
    assert_eq!(closed(&gateway), outside(3));
}

#[test]
fn debugging_is_on_where_it_has_an_effect_and_refused_elsewhere() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let mut one = Typist::new(1);
    let on = one.types(&mut gateway, "debug crypto ikev2");
    assert!(on.text.starts_with("Crypto IKEV2 debugging is on\n%NOTE: debug lines go to \"show logging\""));
    assert!(one.facts.debugs_ike);
    assert!(one.types(&mut gateway, "undebug all").status.is_ok() && !one.facts.debugs_ike);
    for line in ["debug crypto ipsec", "debug crypto engine", "terminal monitor"] {
        let refused = one.types(&mut gateway, line);
        assert!(!refused.status.is_ok() && refused.text.contains("use \"show "), "{line}: {}", refused.text);
    }
    assert!(one.types(&mut gateway, "no debug crypto ipsec").status.is_ok());
    assert!(one.types(&mut gateway, "no terminal monitor").status.is_ok());
}

#[test]
fn a_line_without_room_in_the_segments_is_refused_alone_in_the_middle_of_others() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let mut one = Typist::new(1);
    one.types(&mut gateway, "configure terminal");
    let permits: Vec<String> =
        (1..=17).map(|n| format!("access-list 101 permit ip host 10.20.0.{n} host 10.30.0.{n}")).collect();
    let mut lines: Vec<&str> = permits.iter().map(String::as_str).collect();
    lines.push("hostname R2");
    let replies = one.pastes(&mut gateway, &lines);
    // The list already has one permit; the table holds 16 policies.
    let refused: Vec<usize> = (0..replies.len()).filter(|at| !replies[*at].status.is_ok()).collect();
    assert_eq!(refused, [15, 16]);
    assert!(replies[15].text.contains("made for 16 policies, 17 are needed"), "{}", replies[15].text);
    assert_eq!(gateway.configuration().system.hostname, "R2");
    assert_eq!(closed(&gateway), outside(16));
}

#[test]
fn a_typed_name_is_asked_for_once_and_the_line_applied_with_the_answer() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let mut one = Typist::new(1);
    one.types(&mut gateway, "configure terminal");
    one.types(&mut gateway, "crypto map tohub 1 ipsec-isakmp");
    for (found, peers) in [(Err(NameError::Timeout), 1), (answer(&["10.7.7.7"], 0), 2)] {
        let asked = one.with_operator(&mut gateway, |operator, shell| {
            operator.request(shell, line("set peer Hub1.example"))
        });
        assert!(asked.replies.is_empty());
        assert!(matches!(&asked.work, Some(Work::LookUp(name)) if name == "hub1.example"), "{asked:?}");
        let done = one
            .with_operator(&mut gateway, |operator, shell| operator.looked_up(shell, "hub1.example", &found));
        assert!(done.work.is_none() && done.replies.len() == 1);
        assert_eq!(done.replies[0].status.is_ok(), found.is_ok(), "{}", done.replies[0].text);
        assert_eq!(gateway.configuration().entry("tohub", 1).unwrap().body.peers.len(), peers);
    }
    // An `ip host` line in the same batch is used for the resolution.
    let replies =
        one.pastes(&mut gateway, &["ip host hub2.example 10.8.8.8", "crypto map tohub 1 ipsec-isakmp"]);
    assert!(replies.iter().all(|reply| reply.status.is_ok()));
    assert!(one.types(&mut gateway, "set peer hub2.example").status.is_ok());
}

#[test]
fn typed_lines_take_protection_away_only_at_the_end_and_never_by_deletion() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let mut one = Typist::new(1);
    one.types(&mut gateway, "configure terminal");
    let text = one.types(&mut gateway, "no access-list 101").text;
    assert!(text.contains("its 1 line stays in force"), "{text}");
    assert_eq!(closed(&gateway), outside(1));
    let end = one.types(&mut gateway, "end");
    assert!(
        !end.status.is_ok() && end.text.contains("access list 101 is used by crypto map tohub 1"),
        "{}",
        end.text
    );
    assert_eq!(closed(&gateway), outside(1));
    assert!(gateway.configuration().access_lists.contains_key("101") && !gateway.protects_more());

    outputs(&mut gateway);
    for line in [
        "configure terminal",
        "ip access-list extended 101",
        "no 10",
        OTHER.trim().trim_start_matches("access-list 101 "),
    ] {
        assert!(one.types(&mut gateway, line).status.is_ok(), "{line}");
    }
    assert_eq!(closed(&gateway), outside(2));
    let end = one.types(&mut gateway, "end");
    assert!(
        end.status.is_ok() && end.text.contains("no longer protected: \"permit ip 192.168.1.0"),
        "{}",
        end.text
    );
    assert_eq!(closed(&gateway), outside(1));
    let said = outputs(&mut gateway).2;
    assert_eq!(said.iter().filter(|text| text.starts_with("%TOHUB-4-UNPROTECTED: ")).count(), 1, "{said:?}");
}

#[test]
fn a_cut_paste_is_put_right_by_the_next_session_that_leaves_in_order() {
    let segments = Segments::in_memory().unwrap();
    let mut gateway = gateway(&segments, &text(" set peer 10.1.1.1\n"));
    let mut cut = Typist::new(1);
    cut.types(&mut gateway, "configure terminal");
    cut.types(&mut gateway, "no access-list 101");
    gateway.abandon_edit(1);
    let mut next = Typist::new(2);
    assert!(next.types(&mut gateway, "configure terminal").text.contains("%NOTE: a session ended inside"));
    let end = next.types(&mut gateway, "end");
    assert!(!end.status.is_ok() && end.text.contains("not removed"), "{}", end.text);
    assert_eq!(closed(&gateway), outside(1));
    assert!(!gateway.protects_more() && !gateway.has_cut_edits());
}
