mod bursts;
pub(crate) mod lines;
mod protection;

use super::*;
use crate::Configuration;
use crate::command::ExecCommand;
use crate::control::{Format, Request, Response, Status};
use crate::model::{KeyAddress, Prefix};

/// An owner that only stores the configuration.
#[derive(Default)]
struct Device {
    running: Configuration,
    /// Commits, with the number of changes of each.
    commits: Vec<usize>,
    executed: Vec<ExecCommand>,
    resolved: Vec<String>,
    /// How often configuration mode was entered, left, and abandoned.
    entered: usize,
    left: usize,
    abandoned: usize,
    /// The lost protection reported by the last session that left.
    lost: Vec<String>,
    /// Every commit is rejected.
    refuses: bool,
    /// Maximum number of crypto map entries.
    room: Option<usize>,
}

impl Device {
    /// The result; `None` for asynchronous work.
    fn carry_out(&mut self, ask: Ask) -> Option<Told> {
        Some(match ask {
            Ask::Commit(commit) => Told::Committed(self.commit(commit)),
            Ask::Entered(before) => {
                assert_eq!(*before, self.running);
                self.entered += 1;
                Told::Entered(String::new())
            }
            Ask::Baselines => Told::Baselines(Baselines::default()),
            Ask::Left(lost) => {
                self.left += 1;
                self.lost = lost;
                Told::Noted
            }
            Ask::Abandoned => {
                self.abandoned += 1;
                Told::Noted
            }
            Ask::Resolve(host) => {
                let resolves = host != "nowhere.example";
                self.resolved.push(host);
                Told::Resolved(resolves)
            }
            Ask::Import(_) => panic!("nothing is imported here"),
            Ask::Show(command) => Told::Shown(Ok(format!("{command:?}\n"))),
            Ask::ShowJson(_) => Told::no_json(),
            Ask::Execute(command) => {
                self.executed.push(command.clone());
                if matches!(command, ExecCommand::Ping { .. }) {
                    return None;
                }
                Told::Executed(Ok(String::new()))
            }
        })
    }

    fn commit(&mut self, commit: Commit) -> Result<(), CommandError> {
        assert_eq!(commit.changes, crate::diff::diff(&self.running, &commit.configuration));
        assert!(!commit.changes.is_empty());
        let entries: usize = commit.configuration.crypto_maps.values().map(|map| map.entries.len()).sum();
        if self.refuses || self.room.is_some_and(|room| entries > room) {
            return Err(CommandError::Failed("no room".into()));
        }
        self.commits.push(commit.changes.len());
        self.running = commit.configuration;
        Ok(())
    }
}

struct Session {
    shell: Shell,
    device: Device,
}

impl Session {
    fn new() -> Self {
        let mut device = Device::default();
        device.running.system.hostname = "R1".into();
        Self { shell: Shell::new(15), device }
    }

    /// The responses to requests in one batch, up to asynchronous work.
    fn send(&mut self, requests: impl IntoIterator<Item = Request>) -> Vec<Response> {
        let mut requests = requests.into_iter();
        let (mut replies, mut turn) = (Vec::new(), Turn::default());
        loop {
            replies.append(&mut turn.replies);
            let running = self.device.running.clone();
            turn = match turn.ask {
                Some(ask) => match self.device.carry_out(ask) {
                    Some(told) => self.shell.told(told, &self.device.running),
                    None => return replies,
                },
                None => match requests.next() {
                    Some(request) => self.shell.request(request, &running),
                    None if self.shell.holds_lines() => self.shell.flush(&running),
                    None => return replies,
                },
            };
        }
    }

    fn ask(&mut self, request: Request) -> Response {
        let mut replies = self.send([request.clone()]);
        assert_eq!(replies.len(), 1, "{request:?}");
        replies.remove(0)
    }

    fn type_line(&mut self, line: &str) -> Response {
        self.ask(line_request(line))
    }

    fn type_all(&mut self, lines: &[&str]) {
        for line in lines {
            let response = self.type_line(line);
            assert!(response.status.is_ok(), "{line}: {}", response.text);
        }
    }

    fn help(&mut self, line: &str) -> String {
        self.ask(Request::Help { line: line.into() }).text
    }
}

fn line_request(line: &str) -> Request {
    Request::Line { line: line.into(), format: Format::Text }
}

#[test]
fn modes_prompts_and_leaving_are_those_of_ios() {
    let mut s = Session::new();
    assert_eq!(s.type_line("conf t").text, "Enter configuration commands, one per line.  End with CNTL/Z.\n");
    for (line, prompt) in [
        ("crypto map tohub 1 ipsec-isakmp", "R1(config-crypto-map)#"),
        ("crypto ipsec transform-set ts esp-aes 256 esp-sha256-hmac", "R1(cfg-crypto-trans)#"),
        ("ip access-list extended X", "R1(config-ext-nacl)#"),
        ("crypto isakmp policy 10", "R1(config-isakmp)#"),
        ("interface gi0/1", "R1(config-if)#"),
        ("crypto ikev2 keyring K", "R1(config-ikev2-keyring)#"),
        ("peer P", "R1(config-ikev2-keyring-peer)#"),
        ("exit", "R1(config-ikev2-keyring)#"),
        ("exit", "R1(config)#"),
        ("end", "R1#"),
        ("disable", "R1>"),
    ] {
        assert_eq!(s.type_line(line).prompt, prompt, "after {line}");
    }
    assert!(s.type_line("exit").closed);
}

#[test]
fn en_is_enable_and_the_end_of_a_paste_is_nothing() {
    let mut s = Session::new();
    assert!(!s.type_line("en 15").text.contains("Ambiguous"));
    assert_eq!(s.type_line("en").prompt, "R1#");
    let end = s.type_line("end");
    assert_eq!((end.text.as_str(), end.status, end.closed), ("", Status::Ok, false));
}

#[test]
fn every_keyword_may_be_abbreviated() {
    let mut s = Session::new();
    let response = s.type_line("sh cry ses det");
    assert!(response.text.starts_with("CryptoSession { detail: true"), "{}", response.text);
    s.type_all(&[
        "config term",
        "cry map tohub 1 ipsec-i",
        "set pe 10.1.1.1 def",
        "set sec idle-time 120 default",
        "do term len 0",
    ]);
    let entry = s.device.running.entry("tohub", 1).unwrap();
    assert!(entry.body.peers[0].default);
    assert!(entry.body.idle.unwrap().to_default);
}

#[test]
fn the_caret_stands_under_the_first_offending_character() {
    let map = &["conf t", "crypto map m 1 ipsec-isakmp"][..];
    for (lines, prompt, line, column) in [
        (&[][..], "R1#", "show crypto mapp", 15),
        (&["conf t"], "R1(config)#", "crypto map tohub 0 ipsec-isakmp", 17),
        (map, "R1(config-crypto-map)#", "set peer 10.1.1.300", 16),
        (map, "R1(config-crypto-map)#", "  set  peer 10.1.1", 18),
        (map, "R1(config-crypto-map)#", "set peer 10.1.1.1 dynamic", 19),
        (map, "R1(config-crypto-map)#", "set security-association idle-time 59", 35),
        (map, "R1(config-crypto-map)#", "set security-association idle-time 120 defualt", 42),
        (&["conf t", "interface gi0/1"], "R1(config-if)#", "ip adress 10.0.0.1 255.0.0.0", 5),
    ] {
        let mut s = Session::new();
        s.type_all(lines);
        let response = s.type_line(line);
        assert_eq!((response.status, response.caret), (Status::Usage, Some(column)), "{line}");
        let pad = " ".repeat(prompt.len() + column);
        assert_eq!(response.text, format!("{pad}^\n% Invalid input detected at '^' marker.\n\n"), "{line}");
    }
}

#[test]
fn other_parser_errors_have_their_own_words() {
    let mut s = Session::new();
    assert_eq!(s.type_line("sh c").text, "% Ambiguous command:  \"sh c\"\n");
    assert_eq!(s.type_line("show crypto").text, "% Incomplete command.\n\n");
    assert_eq!(
        s.type_line("frobnicate").text,
        "% Unknown command or computer name, or unable to find computer address\n"
    );
    s.type_all(&["conf t"]);
    assert_eq!(s.type_line("crypto isakmp keepalive").text, "% Incomplete command.\n\n");
    assert_eq!(s.type_line("crypto ikev2 dpd 10").text, "% Incomplete command.\n\n");
    let long = s.type_line(&"x".repeat(MAX_LINE + 1));
    assert_eq!(long.status, Status::Usage);
}

#[test]
fn blanks_comments_and_control_characters_do_nothing() {
    let mut s = Session::new();
    for line in ["", "   ", "! a comment", "\0", "\r"] {
        assert_eq!(s.type_line(line).text, "", "{line:?}");
    }
    assert!(s.type_line("\0show privilege  \r\n").text.contains("level is 15"));
}

#[test]
fn creating_an_entry_says_that_it_is_disabled_and_speaks_ikev2() {
    let mut s = Session::new();
    s.type_all(&["conf t"]);
    let text = s.type_line("crypto map tohub 1 ipsec-isakmp").text;
    assert_eq!(
        text,
        "% NOTE: This new crypto map will remain disabled until a peer\n        and a valid access list have been configured.\n\
         %NOTE: crypto map tohub 1 has no ikev2-profile: IKEv2 is used where IOS uses IKEv1\n"
    );
    assert_eq!(s.type_line("crypto map tohub 1 ipsec-isakmp").text, "", "only the first time");
}

#[test]
fn the_rules_of_the_default_peer_hold() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map tohub 1 ipsec-isakmp", "set peer 10.1.1.1", "set peer 10.2.2.2"]);
    let refused = s.type_line("set peer 10.2.2.2 default");
    assert_eq!(refused.text, "%ERROR: default peer must be the first peer in the peer list\n");
    assert_eq!(refused.status, Status::Refused);
    s.type_line("set peer 10.1.1.1 default");
    let second = s.type_line("set peer 10.3.3.3 default");
    assert_eq!(second.text, "%ERROR: a default peer is already configured for this crypto map\n");
    s.type_all(&["no set peer 10.1.1.1"]);
    let body = &s.device.running.entry("tohub", 1).unwrap().body;
    assert_eq!(body.peers.len(), 1);
    assert!(body.default_peer().is_none(), "the next peer is not promoted");
}

#[test]
fn a_manual_map_has_one_peer() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map m 5 ipsec-manual", "set peer 10.1.1.1"]);
    let refused = s.type_line("set peer 10.2.2.2");
    assert_eq!(
        refused.text,
        "%ERROR: only one peer may be configured for an ipsec-manual crypto map; remove it first\n"
    );
    assert_eq!(s.type_line("crypto map m 5 ipsec-isakmp").status, Status::Refused);
}

#[test]
fn an_idle_time_equal_to_the_global_one_is_not_added() {
    let mut s = Session::new();
    s.type_all(&[
        "conf t",
        "crypto map tohub 1 ipsec-isakmp",
        "set security-association idletime 120 default",
    ]);
    let text = s.type_line("crypto ipsec security-association idle-time 120").text;
    assert_eq!(text, "%NOTE: idle-time equals the global value; not added to crypto map tohub 1\n");
    assert_eq!(s.device.running.entry("tohub", 1).unwrap().body.idle, None);
    assert_eq!(s.device.running.ipsec.idle_seconds, Some(120));
}

#[test]
fn a_refused_line_changes_nothing() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map tohub 1 ipsec-isakmp", "match address 101"]);
    let before = s.device.running.clone();
    for line in [
        "access-list 101 permit ip 10.0.0.0 0.255.0.255 any",
        "crypto map tohub 1 ipsec-manual",
        "crypto ike default-version 1",
    ] {
        assert_eq!(s.type_line(line).status, Status::Refused, "{line}");
        assert_eq!(s.device.running, before, "{line}");
    }
    let text = s.type_line("access-list 101 permit ip 10.0.0.0 0.255.0.255 any").text;
    assert_eq!(text, "%ERROR: non-contiguous wildcard mask in crypto access list 101\n");
}

#[test]
fn host_names_are_resolved_when_typed_unless_dynamic() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map tohub 2 ipsec-isakmp"]);
    assert_eq!(s.type_line("set peer nowhere.example").text, "% Unrecognized host or address.\n");
    s.type_all(&["set peer nowhere.example dynamic default", "set peer hub.example"]);
}

#[test]
fn unknown_transform_sets_are_refused_when_typed() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map tohub 2 ipsec-isakmp"]);
    let text = s.type_line("set transform-set nope").text;
    assert_eq!(text, "ERROR: transform set with tag \"nope\" does not exist.\n");
}

#[test]
fn low_lifetimes_warn_in_the_known_words() {
    let mut s = Session::new();
    s.type_all(&["conf t"]);
    assert_eq!(
        s.type_line("crypto ipsec security-association lifetime seconds 300").text,
        "Warning! Lifetime value of 300 sec is lower than the recommended optimum value of 900 sec\n"
    );
    assert_eq!(
        s.type_line("crypto ipsec security-association lifetime kilobytes 2560").text,
        "Warning! Lifetime value of 2560 KB is lower than the recommended optimum value of 102400 KB\n"
    );
}

#[test]
fn pipes_filter_shows() {
    let mut s = Session::new();
    assert_eq!(s.type_line("show running-config | include ^hostname").text, "hostname R1\n");
    assert_eq!(s.type_line("show version | include operating mode").text, "");
    assert_eq!(s.type_line("show version | frob x").status, Status::Usage);
    assert_eq!(s.type_line("show version | json").status, Status::Failed);
}

#[test]
fn help_lists_what_may_follow() {
    let mut s = Session::new();
    assert_eq!(s.help("sh"), "show\n\n");
    let text = s.help("show crypto map ");
    assert!(text.contains("  interface  ") && text.contains("  tag        "), "{text}");
    assert!(text.contains("  |  ") && text.trim_end().ends_with("<cr>"), "{text}");
    s.type_all(&["conf t", "crypto map tohub 1 ipsec-isakmp"]);
    let text = s.help("set peer 10.1.1.1 ");
    assert!(text.contains("default") && text.contains("<cr>") && !text.contains("dynamic"), "{text}");
    assert!(s.help("set security-association idle-time ").contains("<60-86400>"));
    assert!(s.help("").contains("  no "), "no, default and do are listed");
}

#[test]
fn tab_completes_unique_words() {
    let s = Session::new();
    assert_eq!(s.shell.complete("sho"), ["show"]);
    assert_eq!(s.shell.complete("show crypto ip"), ["ipsec"]);
    assert!(s.shell.complete("show crypto i").len() > 1);
}

#[test]
fn the_enable_secret_is_asked_for() {
    let mut s = Session::new();
    s.type_all(&["conf t", "enable secret cisco", "end", "disable"]);
    let asked = s.type_line("enable");
    assert!(asked.password && asked.text == "Password: ");
    let mut answer = |text: &str| s.ask(Request::Password { text: text.into() });
    assert!(answer("wrong").password);
    assert_eq!(answer("cisco").prompt, "R1#");
}

#[test]
fn long_work_is_answered_later() {
    let mut s = Session::new();
    assert!(s.send([line_request("ping 10.1.1.1 source 192.168.1.1 repeat 3")]).is_empty());
    let turn = s.shell.told(Told::Executed(Ok("!!!\n".into())), &s.device.running);
    assert!(turn.ask.is_none());
    let [response] = &turn.replies[..] else { panic!("{turn:?}") };
    assert_eq!((response.text.as_str(), response.prompt.as_str()), ("!!!\n", "R1#"));
}

#[test]
fn a_key_for_address_0_0_0_0_is_for_every_peer() {
    for typed in ["0.0.0.0", "0.0.0.0 0.0.0.0"] {
        let mut s = Session::new();
        s.type_all(&["conf t", &format!("crypto isakmp key S3cret address {typed}")]);
        let any = KeyAddress::Address(Prefix::v4(std::net::Ipv4Addr::UNSPECIFIED, 0));
        assert_eq!(s.device.running.isakmp_keys[0].peer, any, "{typed}");
        s.type_all(&[&format!("no crypto isakmp key S3cret address {typed}")]);
        assert!(s.device.running.isakmp_keys.is_empty());
    }
}

#[test]
fn keys_are_masked_and_the_mask_is_no_key() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto isakmp key S3cret address 10.1.1.1"]);
    let text = s.type_line("do show running-config").text;
    assert!(
        text.contains("crypto isakmp key ****** address 10.1.1.1\n") && !text.contains("S3cret"),
        "{text}"
    );
    assert_eq!(s.type_line("crypto isakmp key ****** address 10.2.2.2").status, Status::Refused);
    assert_eq!(
        s.type_line("crypto isakmp key other address 10.1.1.1").text,
        "A pre-shared key for address mask 10.1.1.1 255.255.255.255 already exists!\n"
    );
}

#[test]
fn commands_of_the_parent_mode_are_taken_in_a_submode() {
    let mut s = Session::new();
    s.type_all(&[
        "conf t",
        "crypto ipsec transform-set ts esp-gcm 256",
        "mode tunnel",
        "ip access-list extended X",
    ]);
    assert_eq!(s.type_line("exit").prompt, "R1(config)#");
    s.type_all(&["interface gi0/1", "crypto map tohub", "crypto map tohub 1 ipsec-isakmp"]);
    assert!(s.device.running.entry("tohub", 1).is_some());
}

#[test]
fn a_crypto_map_on_an_interface_is_not_removed_under_it() {
    let mut s = Session::new();
    s.type_all(&[
        "conf t",
        "crypto map m 1 ipsec-isakmp",
        "set peer 10.1.1.1",
        "crypto map m 2 ipsec-isakmp",
        "interface Gi0/1",
        "crypto map m",
        "interface Gi0/2",
        "crypto map m",
        "exit",
    ]);
    let before = s.device.running.clone();
    let refused = s.type_line("no crypto map m");
    assert_eq!(refused.status, Status::Refused);
    assert!(refused.text.starts_with("% Crypto-map m is in use by interface(s): "), "{}", refused.text);
    assert!(refused.text.contains("GigabitEthernet0/1, GigabitEthernet0/2"), "{}", refused.text);
    assert_eq!(s.device.running, before);
    // An entry can be removed; the set only if no interface uses it.
    s.type_all(&[
        "no crypto map m 2",
        "interface Gi0/1",
        "no crypto map m",
        "interface Gi0/2",
        "no crypto map m",
        "exit",
    ]);
    s.type_all(&["no crypto map m"]);
    assert!(s.device.running.crypto_maps.is_empty());
}

#[test]
fn every_no_form_of_set_peer_removes_the_peer() {
    for (typed, removed) in [
        ("set peer 10.1.1.1 default", "no set peer 10.1.1.1 default"),
        ("set peer 10.1.1.1 default", "no set peer 10.1.1.1"),
        ("set peer b.example dynamic default", "no set peer b.example dynamic default"),
        ("set peer b.example dynamic default", "no set peer b.example dynamic"),
        ("set peer b.example dynamic", "no set peer B.example"),
        ("set peer b.example", "no set peer b.example"),
    ] {
        let mut s = Session::new();
        s.type_all(&["conf t", "crypto map m 1 ipsec-isakmp", typed, "set peer 10.9.9.9", removed]);
        let peers = &s.device.running.entry("m", 1).unwrap().body.peers;
        assert_eq!(peers.len(), 1, "{removed}");
        assert_eq!(peers[0].name.to_string(), "10.9.9.9", "{removed}");
    }
    // A21: when the line is entered again without the keyword, the keyword is removed and the peer
    // stays.
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map m 1 ipsec-isakmp", "set peer 10.1.1.1 default", "set peer 10.1.1.1"]);
    assert!(s.device.running.entry("m", 1).unwrap().body.default_peer().is_none());
}

#[test]
fn the_no_form_of_the_idle_timer_disables_it() {
    for line in [
        "no set security-association idle-time",
        "no set security-association idletime 120",
        "no set security-association idle-time 120 default",
    ] {
        let mut s = Session::new();
        s.type_all(&[
            "conf t",
            "crypto map m 1 ipsec-isakmp",
            "set security-association idle-time 120 default",
        ]);
        s.type_all(&[line]);
        assert_eq!(s.device.running.entry("m", 1).unwrap().body.idle, None, "{line}");
    }
}

#[test]
fn the_global_idle_timer_has_no_default_keyword() {
    let mut s = Session::new();
    s.type_all(&["conf t"]);
    let refused = s.type_line("crypto ipsec security-association idle-time 120 default");
    assert!(refused.text.contains("% Invalid input detected at '^' marker."), "{}", refused.text);
    assert_eq!(s.device.running.ipsec.idle_seconds, None);
}

#[test]
fn an_entry_takes_forty_peers() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map m 1 ipsec-isakmp"]);
    for number in 1..=40 {
        s.type_all(&[&format!("set peer 10.1.1.{number}")]);
    }
    let refused = s.type_line("set peer 10.1.1.41");
    assert_eq!(refused.text, "%ERROR: an entry takes at most 40 peers\n");
    assert_eq!(s.device.running.entry("m", 1).unwrap().body.peers.len(), 40);
}

#[test]
fn a_typed_name_is_asked_for_also_when_an_ip_host_line_has_it() {
    let mut s = Session::new();
    s.type_all(&["conf t", "ip host nowhere.example 10.1.1.1", "crypto map m 1 ipsec-isakmp"]);
    // Resolution of this name fails; the configuration line is kept.
    s.type_all(&["set peer nowhere.example"]);
    assert_eq!(s.type_line("set peer nowhere.example2").status, Status::Ok);
}

#[test]
fn what_has_no_effect_is_listed_and_nothing_else() {
    let mut s = Session::new();
    s.type_all(&[
        "conf t",
        "crypto isakmp policy 10",
        "encr aes 256",
        "hash sha256",
        "authentication pre-share",
        "group 19",
        "crypto ipsec transform-set ts esp-gcm",
        "crypto dynamic-map d 10",
        "set transform-set ts",
        "crypto ikev2 profile p",
        "crypto map m 1 ipsec-isakmp",
        "set peer 10.1.1.1",
        "set security-association level per-host",
        "set transform-set ts",
        "set ikev2-profile p",
        "exit",
        "crypto map m 65535 ipsec-isakmp dynamic d discover profile q",
        "exit",
        "crypto map m client accounting list x",
    ]);
    let text = s.type_line("do show tohub unsupported").text;
    for line in [
        "crypto map m: \"client accounting list x\" is kept and has no effect\n",
        "crypto map m 65535: \"discover\" is kept and has no effect\n",
        "crypto map m 65535: \"profile q\" is kept and has no effect\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("per-host") && !text.contains("dynamic map"), "{text}");
}

#[test]
fn fail_close_is_a_line_of_the_map_set() {
    let mut s = Session::new();
    s.type_all(&["conf t", "crypto map m 1 ipsec-isakmp", "exit"]);
    assert!(s.help("crypto map m ").contains("(tohub's own)"), "{}", s.help("crypto map m "));
    s.type_all(&["crypto map m fail-close"]);
    assert!(s.device.running.crypto_maps["m"].fail_close);
    assert!(s.type_line("do show running-config").text.contains("\ncrypto map m fail-close\n"));
    s.type_all(&["no crypto map m 1", "no crypto map m fail-close"]);
    assert!(s.device.running.crypto_maps.is_empty(), "nothing is left of the set");
}
