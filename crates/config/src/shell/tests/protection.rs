//! Leaving configuration mode: what is restored, what is reported, and when.

use super::*;

const LINES: &[&str] = &[
    "conf t",
    "crypto ipsec transform-set ts esp-gcm",
    "crypto map tohub 1 ipsec-isakmp",
    "set peer 10.1.1.1",
    "set transform-set ts",
    "match address 101",
    "interface Gi0/1",
    "crypto map tohub",
    "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255",
    "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255",
    "end",
];

/// A gateway with a map in force, and a session that has just entered configuration mode.
fn configuring() -> Session {
    let mut s = Session::new();
    s.type_all(LINES);
    s.type_all(&["conf t"]);
    s
}

#[test]
fn a_list_is_removed_with_a_note_and_put_back_at_the_end() {
    let mut s = configuring();
    let before = s.device.running.clone();
    let note = s.type_line("no access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255").text;
    assert!(
        note.starts_with(
            "%NOTE: \"no access-list 101\" removes the whole list; its 2 lines stay in force until"
        ),
        "{note}"
    );
    assert!(!s.device.running.access_lists.contains_key("101"), "as on the device");
    let end = s.type_line("end");
    assert_eq!((end.status, end.prompt.as_str()), (Status::Refused, "R1#"));
    assert_eq!(
        end.text,
        "%ERROR: access list 101 is used by crypto map tohub 1 on GigabitEthernet0/1: not removed. Replace it in one go \
         (type the new lines before \"end\"), or take the map off the interface first\n"
    );
    assert_eq!(s.device.running, before);
    assert_eq!((s.device.entered, s.device.left), (2, 2));
}

#[test]
fn a_list_that_is_retyped_says_nothing_and_a_shorter_one_says_what_is_lost() {
    let mut s = configuring();
    s.type_all(&[
        "no access-list 101",
        "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255",
        "access-list 101 permit ip 192.168.1.0 0.0.0.255 192.168.3.0 0.0.0.255",
    ]);
    assert_eq!(s.type_line("end").text, "");
    assert!(s.device.lost.is_empty());
    s.type_all(&["conf t", "ip access-list extended 101", "no 10"]);
    let end = s.type_line("end");
    assert_eq!(end.status, Status::Ok);
    assert_eq!(
        end.text,
        "%NOTE: no longer protected: \"permit ip 192.168.1.0 0.0.0.255 192.168.2.0 0.0.0.255\" of access list 101 (crypto \
         map tohub 1) leaves in clear by GigabitEthernet0/1\n"
    );
    assert_eq!(s.device.lost.len(), 1, "for the log");
}

#[test]
fn every_way_out_of_configuration_mode_is_reviewed() {
    for way in ["end", "exit", "ctrl-z"] {
        let mut s = configuring();
        s.type_all(&["no ip access-list extended 101"]);
        let response = match way {
            "ctrl-z" => s.ask(Request::End),
            line => s.type_line(line),
        };
        assert_eq!((response.status, response.prompt.as_str()), (Status::Refused, "R1#"), "{way}");
        assert!(s.device.running.access_lists.contains_key("101"), "{way}");
    }
}

#[test]
fn a_client_that_begins_anew_inside_configuration_mode_has_not_left_it() {
    let mut s = configuring();
    s.ask(Request::Open { width: 80, privilege: 15 });
    assert_eq!((s.device.left, s.device.abandoned), (1, 1));
}

#[test]
fn taking_the_map_off_is_taken_and_says_at_once_what_leaves_in_clear() {
    for line in ["no crypto map", "no crypto map tohub"] {
        let mut s = configuring();
        s.type_all(&["interface Gi0/1"]);
        let text = s.type_line(line).text;
        assert!(text.contains("GigabitEthernet0/1: when configuration mode is left"), "{text}");
        assert!(
            text.contains("leaves in clear by it:\n%NOTE:   permit ip 192.168.1.0 0.0.0.255 192.168.2.0"),
            "{text}"
        );
        s.type_all(&["exit", "no crypto map tohub"]);
        let end = s.type_line("end");
        assert!(end.status.is_ok() && end.text.matches("no longer protected").count() == 2, "{}", end.text);
        assert!(s.device.running.crypto_maps.is_empty());
    }
}

#[test]
fn with_fail_close_a_map_that_is_taken_off_is_dropped_everywhere() {
    let mut s = configuring();
    s.type_all(&["crypto map tohub fail-close", "interface Gi0/1"]);
    let text = s.type_line("no crypto map").text;
    assert!(text.contains("is dropped on every device (fail-close):\n%NOTE:   permit ip"), "{text}");
    assert_eq!(s.type_line("end").text, "");
}

#[test]
fn other_ways_to_take_an_interface_out_of_protection_say_so_too() {
    for (lines, noted, lost) in [
        (&["no interface Gi0/1"][..], "leaves in clear by its device", 2),
        (&["interface Gi0/1", "device eth7"], "is off device GigabitEthernet0/1 and on eth7", 2),
        (&["interface Gi0/1", "shutdown"], "has no SA here", 0),
    ] {
        let mut s = configuring();
        let texts: String = lines.iter().map(|line| s.type_line(line).text).collect();
        assert!(texts.contains(noted), "{lines:?}: {texts}");
        let end = s.type_line("end");
        assert_eq!((end.status, s.device.lost.len()), (Status::Ok, lost), "{lines:?}: {}", end.text);
        s.type_all(&["conf t"]);
        let again: String = lines.iter().map(|line| s.type_line(line).text).collect();
        assert_eq!(again, "", "what is the case already is not said again");
    }
}

#[test]
fn an_access_list_that_no_map_uses_goes_with_a_plain_note() {
    let mut s = configuring();
    s.type_all(&["access-list 150 permit ip any any"]);
    assert_eq!(
        s.type_line("no access-list 150").text,
        "%NOTE: \"no access-list 150\" removes the whole list (1 line)\n"
    );
    assert_eq!(s.type_line("no access-list 150").text, "", "it is gone already");
    assert_eq!(s.type_line("end").text, "");
}

#[test]
fn what_cannot_be_put_back_keeps_the_session_in_configuration_mode() {
    let mut s = configuring();
    s.type_all(&["no access-list 101"]);
    s.device.refuses = true;
    let end = s.type_line("end");
    assert_eq!((end.status, end.prompt.as_str()), (Status::Failed, "R1(config)#"));
    assert_eq!(s.device.left, 1, "what the session began with stays protected");
    s.device.refuses = false;
    assert_eq!(s.type_line("end").prompt, "R1#");
}
