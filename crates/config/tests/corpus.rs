//! Configurations as written by people and programs: the specification's examples verbatim,
//! generated access lists, and typical mistakes, each with its caret.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use config::Configuration;
use config::edit::Environment;
use config::file::{self, LineError};
use config::model::*;
use config::render::{Secrets, running_config};

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

fn accept(text: &str) -> Configuration {
    match file::parse("startup-config", text, &mut NoWorld) {
        Ok(loaded) => loaded.configuration,
        Err(error) => panic!("{error}"),
    }
}

fn refuse(text: &str) -> LineError {
    file::parse("startup-config", text, &mut NoWorld).unwrap_err()
}

fn entry(configuration: &Configuration, map: &str, seq: u16) -> EntryBody {
    configuration.entry(map, seq).unwrap().body.clone()
}

#[test]
fn the_first_peer_as_default_and_the_idle_timer() {
    for spelling in ["idletime", "idle-time"] {
        let c = accept(&format!(
            "crypto map tohub 1 ipsec-isakmp \n set peer 10.1.1.1 default \n set peer 10.2.2.2 \n \
             set security-association {spelling} 120 default \n"
        ));
        let body = entry(&c, "tohub", 1);
        assert_eq!(body.default_peer().unwrap().name.to_string(), "10.1.1.1");
        assert_eq!(body.peers.len(), 2);
        assert_eq!(body.idle, Some(IdleTimer { seconds: 120, to_default: true }));
        let text = running_config(&c, Secrets::Shown);
        assert!(
            text.contains(
                "crypto map tohub 1 ipsec-isakmp \n set peer 10.1.1.1 default\n set peer 10.2.2.2\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n set security-association idle-time 120 default\n"), "{text}");
    }
}

#[test]
fn two_plain_peers() {
    let c = accept(
        "crypto map mymap 10 ipsec-isakmp\n match address 101\n set transform-set my_t_set1\n set peer 10.0.0.1\n set \
         peer 10.0.0.2\n",
    );
    let body = entry(&c, "mymap", 10);
    assert_eq!(body.peers.len(), 2);
    assert!(body.default_peer().is_none());
}

#[test]
fn dynamic_host_names() {
    let c = accept(
        "crypto map secure_b 10 ipsec-isakmp\n  match address 140\n  set peer b.cisco.com dynamic \n  set transform-set \
         xset\ninterface serial1\n  crypto map secure_b\ncrypto map tohub 2 ipsec-isakmp \n set peer user1 dynamic \
         default \n set peer user2 dynamic \n",
    );
    let peers = entry(&c, "tohub", 2).peers;
    assert_eq!(
        peers[0],
        Peer { name: PeerName::Host { name: "user1".into(), dynamic: true }, default: true }
    );
    assert!(!peers[1].default);
    assert_eq!(c.interfaces.keys().next().unwrap().as_str(), "Serial1");
}

#[test]
fn incomplete_lines_of_the_examples_are_refused_as_on_a_device() {
    let error = refuse("interface serial1\n  ip address 10.30.0.1\n");
    assert_eq!((error.number, error.message.as_str()), (2, "% Incomplete command."));
    let error = refuse("access-list 140 permit ...\n");
    assert_eq!((error.number, error.caret), (1, Some(23)));
}

#[test]
fn generated_access_lists_are_accepted() {
    let c = accept(
        "! $Id:$\n! $Date:$\nno ip access-list extended BRANCH\nip access-list extended BRANCH\n remark $Id:$\n! a comment inside\n\n remark \
         allow-web\n remark Web traffic\n permit tcp 10.0.0.0 0.255.255.255 host 192.0.2.10 eq 80\n permit tcp any host \
         192.0.2.10 range 5000 5010\n permit udp host 10.1.1.1 eq 500 any eq 500 log\n permit icmp any any 8\n permit 50 any \
         any\n deny ip any any\n\nexit\n\nhostname R9\n",
    );
    assert_eq!(c.system.hostname, "R9");
    let list = &c.access_lists["BRANCH"];
    assert_eq!(list.rules().count(), 6);
    let text = running_config(&c, Secrets::Shown);
    for line in [
        " remark $Id:$",
        " permit tcp 10.0.0.0 0.255.255.255 host 192.0.2.10 eq www",
        " permit udp host 10.1.1.1 eq isakmp any eq isakmp log",
        " permit icmp any any echo",
        " permit esp any any",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
}

#[test]
fn a_configuration_typed_twice_is_the_same() {
    let text = "access-list 101 permit ip 192.168.1.5 0.0.0.255 192.168.2.0 0.0.0.255\ncrypto map m 1 ipsec-isakmp\n set peer \
                10.1.1.1 default\n";
    assert_eq!(accept(text), accept(&format!("{text}{text}")));
}

#[test]
fn line_ends_tabs_and_control_characters_do_not_matter() {
    let plain = accept("hostname R1\ncrypto map m 1 ipsec-isakmp\n set peer 10.1.1.1 default\n");
    assert_eq!(
        accept("hostname R1\r\ncrypto map m 1 ipsec-isakmp\r\n\tset peer\t10.1.1.1 default  \r\n\0\n"),
        plain
    );
}

#[test]
fn what_a_device_prints_at_the_edges_is_accepted() {
    accept(
        "!\nversion 17.3\nservice timestamps debug datetime msec\n!\nhostname R1\nno logging console\nline vty 0 4\n login local\n transport input ssh\n!\nend\nthis is behind the end\n",
    );
}

#[test]
fn mistakes_are_found_where_they_are() {
    let map = "crypto map tohub 1 ipsec-isakmp\n";
    for (text, number, caret, message) in [
        ("hostnme R1\n", 1, Some(5), "marker"),
        (&format!("{map} set peer 10.1.1.256\n"), 2, Some(17), "marker"),
        (&format!("{map} set peer 10.1.1.1 defalt\n"), 2, Some(23), "marker"),
        (&format!("{map} set security-association idle-time 30\n"), 2, Some(36), "marker"),
        (&format!("{map} set security-association idle-time 100000 default\n"), 2, Some(36), "marker"),
        (&format!("{map} match address 99\n"), 2, Some(15), "marker"),
        (&format!("{map} set peer\n"), 2, None, "Incomplete"),
        (&format!("{map} set transform-set a b c d e f g\n"), 2, Some(31), "marker"),
        (&format!("{map} set peer 10.1.1.1\n set peer 10.2.2.2 default\n"), 3, None, "must be the first"),
        (
            &format!("{map} set peer 10.1.1.1 default\n set peer 10.2.2.2 default\n"),
            3,
            None,
            "already configured",
        ),
        ("crypto map tohub 65536 ipsec-isakmp\n", 1, Some(17), "marker"),
        ("crypto map tohub 1\n", 1, None, "Incomplete"),
        ("crypto ipsec transform-set ts esp-gcm esp-sha256-hmac\n", 1, None, "leave the ESP MAC out"),
        ("crypto ipsec transform-set ts esp-aes esp-3des\n", 1, None, "one ESP cipher"),
        ("crypto ipsec transform-set ts esp-blowfish\n", 1, Some(34), "marker"),
        ("crypto isakmp keepalive 5\n", 1, Some(24), "marker"),
        ("crypto isakmp key 6 ABCDEF address 10.1.1.1\n", 1, None, "type 6"),
        ("crypto ike default-version 1\n", 1, None, "IKEv1 is not implemented"),
        ("crypto ike give-up 4\n", 1, Some(19), "marker"),
        ("interface gi0/1\n ip address 10.0.0.1 255.0.255.0\n", 2, None, "Bad mask"),
        ("ip route 10.0.0.1 255.255.255.0 10.9.9.1\n", 1, None, "Inconsistent"),
        ("access-list 101 permit tcp any any eq 70000\n", 1, Some(38), "marker"),
        ("access-list 101 permit udp any eq bogus any\n", 1, Some(34), "marker"),
    ] {
        let error = refuse(text);
        assert_eq!((error.number, error.caret), (number, caret), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn a_refused_file_names_file_line_caret_and_remedy() {
    let text =
        refuse("hostname R1\ncrypto map tohub 1 ipsec-isakmp\n set peer 10.1.1.1 defalt\n").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "startup-config:3:24: % Invalid input detected at '^' marker.");
    assert_eq!(lines[1], "     set peer 10.1.1.1 defalt");
    assert_eq!(lines[2].find('^'), Some(4 + 23));
    assert!(lines[3].starts_with("remedy: "), "{text}");
}

#[test]
fn what_cannot_be_negotiated_refuses_the_whole_file() {
    let error = refuse(
        "access-list 101 permit ip 10.0.0.0 0.255.0.255 any\ncrypto map m 1 ipsec-isakmp\n match address 101\n",
    );
    assert_eq!(error.message, "%ERROR: non-contiguous wildcard mask in crypto access list 101");
}

#[test]
fn the_saved_file_is_for_root_alone_and_complete() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("tohub-config-{}", std::process::id()));
    std::fs::write(&path, "old").unwrap();
    let c = accept("hostname R1\ncrypto isakmp key S3cret address 10.1.1.1\n");
    file::save(&path, &c).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(file::load(&path, &mut NoWorld).unwrap().configuration, c);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_with_keys_that_others_may_read_gets_a_note() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("tohub-open-{}", std::process::id()));
    // A byte order mark and CRLF line ends are accepted.
    std::fs::write(&path, "\u{feff}hostname R1\r\ncrypto isakmp key S3cret address 10.1.1.1\r\n").unwrap();
    let notes = |mode: u32| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        file::load(&path, &mut NoWorld).unwrap().notes
    };
    assert!(notes(0o644).iter().any(|note| note.contains("chmod 600")));
    assert!(notes(0o600).iter().all(|note| !note.contains("chmod")));
    std::fs::write(&path, "hostname R1\n").unwrap();
    assert!(notes(0o644).is_empty(), "nothing secret, nothing to say");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_never_ends_is_refused_for_its_length() {
    let error = file::load(std::path::Path::new("/dev/zero"), &mut NoWorld).unwrap_err();
    assert!(error.to_string().contains("more bytes"), "{error}");
}

#[test]
fn examples_of_the_manual_are_accepted() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cfg") {
            let loaded = file::load(&path, &mut NoWorld).unwrap_or_else(|error| panic!("{error}"));
            assert_ne!(loaded.configuration, Configuration::default(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 3, "the examples are there");
}

#[test]
fn post_quantum_lines_of_ikev2() {
    let text = "crypto ikev2 proposal pq\n encryption aes-gcm-256\n prf sha384\n group 31\n \
                additional-key-exchange 1 mlkem768 optional\n!\ncrypto ikev2 keyring k\n peer hub\n  address 10.1.1.1\n  \
                pre-shared-key hush\n  ppk manual id ppk1 key hex 00ff required\n !\n";
    let c = accept(text);
    let exchange = &c.ikev2_proposals["pq"].additional[0];
    assert_eq!((exchange.number, exchange.optional), (1, true));
    assert_eq!(exchange.methods, [AdditionalMethod::MlKem768]);
    let ppk = c.ikev2_keyrings["k"].peers["hub"].ppk.clone().unwrap();
    assert_eq!((ppk.id.as_str(), ppk.hex, ppk.required), ("ppk1", true, true));
    let shown = running_config(&c, Secrets::Shown);
    assert_eq!(accept(&shown), c, "{shown}");
    let hidden = running_config(&c, Secrets::Hidden);
    assert!(
        hidden.contains("ppk manual id ppk1 key hex ****** required") && !hidden.contains("00ff"),
        "{hidden}"
    );
    let gone = accept(&format!(
        "{text}crypto ikev2 proposal pq\n no additional-key-exchange 1\ncrypto ikev2 keyring k\n peer hub\n no ppk manual\n"
    ));
    assert!(gone.ikev2_proposals["pq"].additional.is_empty());
    assert_eq!(gone.ikev2_keyrings["k"].peers["hub"].ppk, None);
    refuse("crypto ikev2 proposal pq\n additional-key-exchange 8 mlkem768\n");
    let twice = "crypto ikev2 proposal pq\n additional-key-exchange 1 mlkem768\n additional-key-exchange 2 mlkem768\n";
    assert!(refuse(twice).to_string().contains("used once"));
    let odd = "crypto ikev2 keyring k\n peer hub\n  ppk manual id ppk1 key hex 0ff\n";
    assert!(refuse(odd).to_string().contains("even number"));
}

#[test]
fn access_groups_are_part_of_interfaces_and_entries() {
    let text = "interface Gi0/1\n ip access-group 120 in\n ip access-group OUT out\ncrypto map m 1 ipsec-isakmp\n set ip \
                access-group 121 out\ncrypto dynamic-map d 1\n set ip access-group 122 in\n";
    let c = accept(text);
    let interface = c.interfaces.values().next().unwrap();
    let groups: Vec<_> = interface.access_groups.iter().collect();
    assert_eq!(groups, [("120", "in"), ("OUT", "out")]);
    assert_eq!(entry(&c, "m", 1).access_groups.outbound.as_deref(), Some("121"));
    assert_eq!(c.dynamic_maps["d"].entries[&1].access_groups.inbound.as_deref(), Some("122"));
    let rendered = running_config(&c, Secrets::Shown);
    for line in [" ip access-group 120 in\n", " ip access-group OUT out\n", " set ip access-group 121 out\n"]
    {
        assert!(rendered.contains(line), "{rendered}");
    }
    let after = |lines: &str| {
        let c =
            accept(&format!("interface Gi0/1\n ip access-group 120 in\n ip access-group OUT out\n{lines}"));
        let groups = &c.interfaces.values().next().unwrap().access_groups;
        groups.iter().map(|(_, direction)| direction).collect::<Vec<_>>()
    };
    assert_eq!(after(" no ip access-group 120 in\n"), ["out"]);
    assert_eq!(after(" no ip access-group in\n"), ["out"]);
    assert_eq!(after(" no ip access-group\n"), [""; 0]);
    assert_eq!(
        after(" no ip access-group 121 in\n"),
        ["in", "out"],
        "another list than the one that is there"
    );
}

#[test]
fn filters_ask_for_service_classes_flags_and_fragments() {
    let c = accept(
        "ip access-list extended F\n permit tcp any any gt 1023 established\n permit udp any any dscp ef log\n deny ip \
         any any precedence critical fragments\n permit ip 10.0.1.0 0.255.0.255 any dscp 63 log-input\n",
    );
    let text = running_config(&c, Secrets::Shown);
    for line in [
        " permit tcp any any gt 1023 established\n",
        " permit udp any any dscp ef log\n",
        " deny ip any any precedence critical fragments\n",
        " permit ip 10.0.1.0 0.255.0.255 any dscp 63 log-input\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    for (line, words) in [
        ("permit udp any any established", "needs tcp"),
        ("permit tcp any any eq 80 fragments", "leave one or the other out"),
        ("permit ip any any dscp ef precedence 3", "the same bits"),
    ] {
        let error = refuse(&format!("ip access-list extended F\n {line}\n")).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_crypto_access_list_cannot_ask_for_a_service_class() {
    let text = "access-list 101 permit ip any any dscp ef\ncrypto map m 1 ipsec-isakmp\n match address 101\n";
    let error = file::parse("startup-config", text, &mut NoWorld).unwrap_err().to_string();
    assert!(error.contains("crypto access list 101"), "{error}");
}

#[test]
fn a_filter_without_lines_is_named_by_the_review() {
    let c = accept(
        "interface Gi0/1\n ip access-group 120 in\nip access-list extended E\ncrypto map m 1 ipsec-isakmp\n set ip access-group E out\n",
    );
    let notes = config::commit::filter_notes(&c);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0]
            .contains("interface GigabitEthernet0/1 filters in by access list 120, which is not configured")
    );
    assert!(notes[1].contains("crypto map m 1 filters out by access list E, which has no line"));
    let c = accept("interface Gi0/1\n ip access-group 120 in\naccess-list 120 permit ip any any\n");
    assert_eq!(config::commit::filter_notes(&c), [""; 0]);
}

#[test]
fn a_filter_that_stops_its_own_tunnels_is_named() {
    let notes = |direction: &str, lines: &str| {
        let c = accept(&format!(
            "crypto map m 1 ipsec-isakmp\ninterface Gi0/1\n crypto map m\n ip access-group F {direction}\nip access-list extended F\n{lines}"
        ));
        config::commit::filter_notes(&c)
    };
    let all = " permit udp any any eq isakmp\n permit esp any any\n";
    assert_eq!(notes("in", all), [""; 0]);
    assert_eq!(notes("in", " permit udp any any range 400 5000\n"), [""; 0], "NAT-T carries both");
    assert_eq!(notes("in", " deny tcp any any\n permit ip any any\n"), [""; 0]);
    assert_eq!(notes("out", " permit esp any any\n"), [""; 0], "IKE of this host is no subject");
    let without_ike = notes("in", " deny udp any any eq isakmp\n permit esp any any\n");
    assert!(
        without_ike[0].contains("permits IKE") && without_ike[0].contains("eq isakmp"),
        "{without_ike:?}"
    );
    let without_esp = notes("in", " permit udp any any eq isakmp\n");
    assert!(without_esp[0].contains("permits ESP") && without_esp[0].contains("permit esp any any"));
    assert!(notes("out", " permit tcp any any\n")[0].contains("filters out by access list F"));
}

#[test]
fn an_access_group_where_no_packet_passes_is_refused() {
    for name in ["Loopback0", "Tunnel1", "Dialer1"] {
        let error = refuse(&format!("interface {name}\n ip access-group 120 in\n")).to_string();
        assert!(error.contains(name) && error.contains("has no device"), "{error}");
        accept(&format!("interface {name}\n ip access-group 120 in\n device ppp0\n"));
    }
}
