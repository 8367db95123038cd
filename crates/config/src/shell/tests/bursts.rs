//! Batches and blocks of lines: one commit, with the same responses as for single lines.

use proptest::prelude::*;

use super::lines::lines;
use super::*;

const ENTRIES: &[&str] =
    &["crypto map m 1 ipsec-isakmp", "set peer 10.1.1.1", "crypto map m 2 ipsec-isakmp", "set peer 10.1.1.2"];

fn configuring() -> Session {
    let mut s = Session::new();
    s.type_all(&["conf t"]);
    s
}

impl Session {
    fn burst(&mut self, lines: &[&str]) -> Vec<Response> {
        let replies = self.send(lines.iter().map(|line| line_request(line)));
        assert_eq!(replies.len(), lines.len());
        replies
    }

    /// The responses to single lines, until the session ends.
    fn until_closed(&mut self, lines: &[&str]) -> Vec<Response> {
        let mut replies: Vec<Response> = Vec::new();
        for line in lines {
            if replies.last().is_none_or(|last| !last.closed) {
                replies.push(self.type_line(line));
            }
        }
        replies
    }

    fn block(&mut self, lines: &[&str], stops: bool) -> Response {
        self.ask(Request::Block { lines: lines.iter().map(|line| (*line).to_owned()).collect(), stops })
    }
}

#[test]
fn lines_that_come_together_are_one_commit_with_a_reply_each() {
    let (mut together, mut alone) = (configuring(), configuring());
    let replies = together.burst(ENTRIES);
    let expected: Vec<Response> = ENTRIES.iter().map(|line| alone.type_line(line)).collect();
    assert_eq!(replies, expected);
    assert_eq!((together.device.commits.len(), alone.device.commits.len()), (1, 4));
    assert_eq!(together.device.running, alone.device.running);
}

#[test]
fn a_refused_line_in_the_middle_leaves_the_others_as_they_are() {
    let mut s = configuring();
    let lines = [
        "crypto map m 1 ipsec-isakmp",
        "match address 101",
        "access-list 101 permit ip 10.0.0.0 0.255.0.255 any",
        "no such line",
        "access-list 101 permit ip 10.0.0.0 0.0.0.255 any",
        "crypto map m 1 ipsec-isakmp",
        "set peer 10.1.1.1",
    ];
    let replies = s.burst(&lines);
    let status: Vec<Status> = replies.iter().map(|reply| reply.status).collect();
    let (ok, refused, usage) = (Status::Ok, Status::Refused, Status::Usage);
    assert_eq!(status, [ok, ok, refused, usage, ok, ok, ok]);
    assert_eq!(replies[2].text, "%ERROR: non-contiguous wildcard mask in crypto access list 101\n");
    assert_eq!(replies[2].prompt, "R1(config-crypto-map)#");
    assert_eq!(s.device.commits.len(), 1);
    assert_eq!(s.device.running.access_lists["101"].lines.len(), 1);
    assert_eq!(s.device.running.entry("m", 1).unwrap().body.peers.len(), 1);
}

#[test]
fn what_has_no_room_is_refused_with_its_own_line_and_nothing_is_half_applied() {
    let mut s = configuring();
    s.device.room = Some(1);
    let replies = s.burst(ENTRIES);
    let texts: Vec<(&str, &str)> =
        replies.iter().map(|reply| (reply.text.as_str(), reply.prompt.as_str())).collect();
    assert_eq!(texts[2], ("% no room\n", "R1(config-crypto-map)#"));
    assert!(replies[0].status.is_ok() && replies[1].status.is_ok() && replies[3].status.is_ok());
    // The session is in entry 1, as after single lines.
    let map = &s.device.running.crypto_maps["m"];
    assert_eq!(map.entries.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(map.entries[&1].body.peers.len(), 2);
    assert_eq!(s.device.commits.len(), 3, "each line alone");
    assert!(!s.shell.holds_lines() && !s.shell.retries_lines());
}

#[test]
fn limits_of_every_gateway_are_told_to_the_line_that_exceeds_them() {
    let mut s = configuring();
    let names: Vec<String> = (1..=66).map(|number| format!("interface GigabitEthernet0/{number}")).collect();
    let lines: Vec<&str> = names.iter().map(String::as_str).collect();
    let replies = s.burst(&lines);
    assert!(replies[..64].iter().all(|reply| reply.status.is_ok()));
    assert!(
        replies[64..].iter().all(|reply| reply.text.contains("65 interfaces carry packets")),
        "{replies:?}"
    );
    assert_eq!(s.device.running.interfaces.len(), 64);
}

#[test]
fn every_name_is_looked_up_once_and_lines_in_front_of_it_are_committed_first() {
    let mut s = configuring();
    let lines = [
        "crypto map m 1 ipsec-isakmp",
        "set peer hub.example",
        "set peer nowhere.example",
        "set peer nowhere.example dynamic",
        "set peer 10.1.1.1",
        "description here",
    ];
    let replies = s.burst(&lines);
    assert_eq!(s.device.resolved, ["hub.example", "nowhere.example"], "once each, and none that is dynamic");
    assert_eq!(replies[2].text, "% Unrecognized host or address.\n");
    assert_eq!(replies[2].status, Status::Refused);
    assert_eq!(s.device.commits, [2, 1, 1], "the entry and its map; hub.example; the rest");
    assert_eq!(s.device.running.entry("m", 1).unwrap().body.peers.len(), 3);
}

#[test]
fn a_line_whose_name_is_looked_up_is_applied_to_what_runs_then() {
    let mut s = configuring();
    s.type_all(&["crypto map m 1 ipsec-isakmp"]);
    let turn = s.shell.request(line_request("set peer hub.example default"), &s.device.running);
    assert!(
        matches!(&turn.ask, Some(Ask::Resolve(name)) if name == "hub.example") && turn.replies.is_empty()
    );
    // Another session adds a peer meanwhile.
    let mut other = Session { shell: Shell::new(15), device: std::mem::take(&mut s.device) };
    other.type_all(&["conf t", "crypto map m 1 ipsec-isakmp", "set peer 10.1.1.1", "end"]);
    s.device = other.device;
    let turn = s.shell.told(Told::Resolved(true), &s.device.running);
    assert!(turn.ask.is_none());
    assert_eq!(turn.replies[0].text, "%ERROR: default peer must be the first peer in the peer list\n");
}

#[test]
fn nothing_is_executed_twice() {
    let mut s = Session::new();
    let lines =
        ["clear crypto sa", "conf t", "hostname R2", "do clear crypto sa", "hostname R3", "end", "exit"];
    let replies = s.burst(&lines);
    assert_eq!((s.device.executed.len(), s.device.commits.len()), (2, 2));
    assert_eq!(replies[3].prompt, "R2(config)#");
    assert!(replies[6].closed);
    // Lines that are committed one by one are not asked about again.
    let mut s = configuring();
    s.device.room = Some(0);
    s.burst(&["hostname R2", "crypto map m 1 ipsec-isakmp", "do clear crypto sa"]);
    assert_eq!((s.device.executed.len(), s.device.running.system.hostname.as_str()), (1, "R2"));
    s.burst(&["crypto dynamic-map d 1", "set peer hub.example", "crypto map m 1 ipsec-isakmp"]);
    assert_eq!(s.device.resolved, ["hub.example"]);
}

#[test]
fn an_answer_that_was_not_asked_for_changes_nothing() {
    let mut s = configuring();
    let turn = s.shell.request(line_request("do ping 10.1.1.1"), &s.device.running);
    assert!(matches!(turn.ask, Some(Ask::Execute(ExecCommand::Ping { .. }))));
    let turn = s.shell.told(Told::Resolved(true), &s.device.running);
    assert!(turn.ask.is_none() && turn.replies.is_empty());
    let turn = s.shell.told(Told::Executed(Ok("!".into())), &s.device.running);
    assert_eq!(turn.replies.len(), 1);
}

#[test]
fn a_block_has_one_answer_with_those_of_its_lines() {
    let mut s = configuring();
    let block = s.block(ENTRIES, false);
    assert_eq!((block.text.as_str(), block.status, block.replies.len()), ("", Status::Ok, 4));
    assert!(block.replies[0].text.contains("will remain disabled"));
    assert_eq!((block.prompt.as_str(), s.device.commits.len()), ("R1(config-crypto-map)#", 1));
    assert_eq!(s.block(&[], true).status, Status::Ok);
    let mixed = s.block(&["no such line", "hostname R2", "end", "show privilege"], false);
    assert_eq!((mixed.status, mixed.prompt.as_str()), (Status::Usage, "R2#"));
    assert_eq!(mixed.replies[3].text, "Current privilege level is 15\n");
}

#[test]
fn the_first_error_ends_a_block_that_stops() {
    let mut s = configuring();
    let block = s.block(&["hostname R2", "no such line", "hostname R3"], true);
    assert_eq!((block.replies.len(), block.status), (2, Status::Usage));
    assert_eq!(s.device.running.system.hostname, "R2");
    s.device.room = Some(1);
    let block = s.block(&[ENTRIES, &["hostname R4"]].concat(), true);
    assert_eq!(
        (block.replies.len(), block.status),
        (3, Status::Failed),
        "also when it is found at the commit"
    );
    assert_eq!(s.device.running.system.hostname, "R2");
    assert_eq!(s.type_line("hostname R5").status, Status::Ok, "the session goes on");
}

#[test]
fn a_block_ends_where_a_password_is_asked_for_and_with_the_session() {
    let mut s = configuring();
    let lines = ["enable secret cisco", "end", "disable", "enable", "show privilege"];
    let block = s.block(&lines, false);
    assert!(block.replies.len() == 4 && block.password);
    assert_eq!(s.ask(Request::Password { text: "cisco".into() }).prompt, "R1#");
    let block = s.block(&["exit", "show privilege"], false);
    assert!(block.replies.len() == 1 && block.closed);
}

#[test]
fn what_changed_under_lines_that_are_held_is_not_lost() {
    let mut s = configuring();
    let turn = s.shell.request(line_request("hostname R2"), &s.device.running);
    assert!(turn.ask.is_none() && turn.replies.is_empty() && s.shell.holds_lines());
    s.device.running.system.domain_name = Some("example".into());
    assert_eq!(s.send([]).len(), 1);
    let system = &s.device.running.system;
    assert_eq!((system.hostname.as_str(), system.domain_name.as_deref()), ("R2", Some("example")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_block_means_what_its_lines_mean_one_by_one(lines in lines(), room in proptest::option::of(0usize..4)) {
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (mut alone, mut burst, mut block) = (configuring(), configuring(), configuring());
        let expected = alone.until_closed(&lines);
        lines.truncate(expected.len());
        prop_assert_eq!(&burst.burst(&lines), &expected);
        prop_assert_eq!(&block.block(&lines, false).replies, &expected);
        for other in [&burst, &block] {
            prop_assert_eq!(&other.device.running, &alone.device.running);
            prop_assert_eq!(&other.device.resolved, &alone.device.resolved);
            prop_assert!(other.device.commits.len() <= alone.device.commits.len());
        }
        // With too little room, the lines are rejected that would be rejected alone, unless a later
        // line of the batch frees room.
        if lines.iter().any(|line| line.starts_with("no crypto map")) {
            return Ok(());
        }
        let (mut alone, mut burst) = (configuring(), configuring());
        (alone.device.room, burst.device.room) = (room, room);
        let expected = alone.until_closed(&lines);
        lines.truncate(expected.len());
        prop_assert_eq!(&burst.burst(&lines), &expected);
        prop_assert_eq!(&burst.device.running, &alone.device.running);
        prop_assert_eq!(&burst.device.resolved, &alone.device.resolved);
    }
}
