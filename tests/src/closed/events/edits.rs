//! Edits of the running configuration. Before, while and after each of them the same flow stays
//! protected.

use crate::event::{Event, Step, lines};
use crate::setup::Setup;

mod lists;

struct Edit {
    name: &'static str,
    sentence: &'static str,
    steps: fn() -> Vec<Step>,
}

const PERMIT: &str = "access-list 101 permit ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255";
const UPLINK: &str = "interface GigabitEthernet0/1";
const ENTRY: &str = "crypto map tohub 1 ipsec-isakmp";

const EDITS: &[Edit] = &[
    Edit {
        name: "entry removed and pasted again",
        sentence: "The crypto map entry is removed and pasted again, with the map on the interface.",
        steps: || {
            pasted(&[
                "no crypto map tohub 1",
                ENTRY,
                "set peer 203.0.113.2",
                "set transform-set ts",
                "match address 101",
                UPLINK,
                "crypto map tohub",
            ])
        },
    },
    Edit {
        name: "entry under another number",
        sentence: "A second entry with the same list is added, the first removed, and back.",
        steps: || {
            let body = ["set peer 203.0.113.2", "set transform-set ts", "match address 101"];
            let second = [&["crypto map tohub 2 ipsec-isakmp"], &body[..]].concat();
            let first = [&[ENTRY], &body[..]].concat();
            apart(&[&second, &["no crypto map tohub 1"], &first, &["no crypto map tohub 2"]])
        },
    },
    Edit {
        name: "peer removed and typed again",
        sentence: "The only peer is removed and typed again: the entry is not complete for a while.",
        steps: || {
            typed(&[&[
                ENTRY,
                "no set peer 203.0.113.2",
                "description exchanged",
                "set peer 203.0.113.2",
                "no description",
            ]])
        },
    },
    Edit {
        name: "peer exchanged",
        sentence: "A second peer is added, the first removed, and back.",
        steps: || {
            apart(&[
                &[ENTRY, "set peer 203.0.113.3"],
                &[ENTRY, "no set peer 203.0.113.2"],
                &[ENTRY, "set peer 203.0.113.2"],
                &[ENTRY, "no set peer 203.0.113.3"],
            ])
        },
    },
    Edit {
        name: "transform set removed and typed again",
        sentence: "The transform set is taken out of the entry and put back.",
        steps: || typed(&[&[ENTRY, "no set transform-set ts", "set transform-set ts"]]),
    },
    Edit {
        name: "transform set made anew",
        sentence: "The transform set itself is removed and made anew with another transform, and as it was.",
        steps: || {
            vec![
                Step::TryConfigure(lines(&["no crypto ipsec transform-set ts"])),
                Step::Wait(100),
                Step::Configure(lines(&["crypto ipsec transform-set ts esp-gcm 256", "mode tunnel"])),
                Step::Wait(100),
                Step::Configure(lines(&[
                    "crypto ipsec transform-set ts esp-gcm",
                    "mode tunnel",
                    ENTRY,
                    "set transform-set ts",
                ])),
                Step::Wait(150),
            ]
        },
    },
    Edit {
        name: "match address removed and typed again",
        sentence: "The entry loses its list and gets it back.",
        steps: || typed(&[&[ENTRY, "no match address 101", "match address 101"]]),
    },
    Edit {
        name: "map exchanged on the uplink",
        sentence: "Another map with the same permit takes the place of the map on the interface, and back.",
        steps: || {
            apart(&[
                &[
                    "crypto map other 1 ipsec-isakmp",
                    "set peer 203.0.113.2",
                    "set transform-set ts",
                    "match address 101",
                ],
                &[UPLINK, "crypto map other"],
                &[UPLINK, "crypto map tohub"],
                &["no crypto map other"],
            ])
        },
    },
    Edit {
        name: "map on the inside interface too",
        sentence: "The inside interface gets a map of its own, and loses it.",
        steps: || {
            apart(&[
                &[
                    "access-list 103 permit ip 10.2.0.0 0.0.255.255 172.31.0.0 0.0.255.255",
                    "crypto map inner 1 ipsec-isakmp",
                    "set peer 192.168.1.200",
                    "set transform-set ts",
                    "match address 103",
                ],
                &["interface GigabitEthernet0/0", "crypto map inner"],
                &["interface GigabitEthernet0/0", "no crypto map"],
                &["no crypto map inner"],
                &["no access-list 103"],
            ])
        },
    },
    Edit {
        name: "unrelated lines of the uplink",
        sentence: "Description and MTU of the uplink change.",
        steps: || {
            apart(&[
                &[UPLINK, "description towards the provider", "mtu 1400"],
                &[UPLINK, "no description", "no mtu"],
            ])
        },
    },
    Edit {
        name: "address of the uplink typed again",
        sentence: "The uplink gets another address and its own again.",
        steps: || {
            vec![
                Step::Configure(lines(&[UPLINK, "ip address 192.0.2.9 255.255.255.0"])),
                Step::Route,
                Step::Wait(150),
                Step::Configure(lines(&[UPLINK, "ip address 192.0.2.1 255.255.255.0"])),
                Step::Route,
                Step::Wait(150),
            ]
        },
    },
    Edit {
        name: "unrelated interface edited, added, removed",
        sentence: "Another interface is described, shut, opened; one without a device is added and removed.",
        steps: || {
            apart(&[
                &["interface GigabitEthernet0/2", "description second", "shutdown"],
                &["interface GigabitEthernet0/2", "no description", "no shutdown"],
                &["interface GigabitEthernet0/7", "ip address 192.0.9.1 255.255.255.0"],
                &["no interface GigabitEthernet0/7"],
            ])
        },
    },
    Edit {
        name: "device line changed and put back",
        sentence: "The uplink names a device that does not exist, and then its own again.",
        steps: || {
            vec![
                Step::Configure(lines(&[UPLINK, "device nothere"])),
                Step::OpenForwarding,
                Step::Wait(250),
                Step::Configure(lines(&[UPLINK, "device outside"])),
                Step::Address(crate::world::Device::Outside),
                Step::Route,
                Step::Wait(250),
            ]
        },
    },
    Edit {
        name: "map moved to the other uplink and back",
        sentence: "The interface with the map loses it after the other uplink got it, and back; routes follow.",
        steps: || {
            apart(&[
                &["interface GigabitEthernet0/2", "crypto map tohub"],
                &["interface GigabitEthernet0/2", "no crypto map"],
            ])
        },
    },
    Edit {
        name: "static routes",
        sentence: "A static route for the protected network is removed and typed again.",
        steps: || {
            let route = "ip route 10.2.0.0 255.255.0.0 192.0.2.2";
            apart(&[&[&no(route)], &[route]])
        },
    },
    Edit {
        name: "policy and key removed and typed again",
        sentence: "ISAKMP policy and key are removed and typed again.",
        steps: || {
            let policy = [
                "crypto isakmp policy 10",
                "encryption aes 256",
                "hash sha256",
                "authentication pre-share",
                "group 19",
            ];
            let key = "crypto isakmp key only-for-the-laboratory address 203.0.113.2";
            apart(&[&["no crypto isakmp policy 10"], &[&no(key)], &policy, &[key]])
        },
    },
    Edit {
        name: "clear crypto sa",
        sentence: "All SAs are cleared three times.",
        steps: || {
            let mut steps = Vec::new();
            for command in ["clear crypto sa", "clear crypto isakmp", "clear crypto ikev2 sa"] {
                steps.extend([Step::Exec(command.to_owned()), Step::OpenForwarding, Step::Wait(100)]);
            }
            steps
        },
    },
    Edit {
        name: "saved, and refused lines",
        sentence: "The configuration is saved; lines that are refused change nothing.",
        steps: || {
            vec![
                Step::Exec("write memory".to_owned()),
                Step::Refused(lines(&["access-list 101 permit ip 192.168.1.0 0.0.0.255"])),
                Step::Refused(lines(&[UPLINK, "ip address 192.0.2.1 255.0.255.0"])),
                Step::Wait(100),
            ]
        },
    },
];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for setup in [Setup::OneUplink, Setup::Tunnel] {
        for edit in lists::EDITS.iter().chain(EDITS) {
            let (suffix, words) = match setup {
                Setup::Tunnel => (", with a tunnel", " The tunnel is up."),
                _ => ("", " No peer answers."),
            };
            events.push(Event::running(
                format!("edit: {}{suffix}", edit.name),
                format!("{}{words}", edit.sentence),
                setup,
                (edit.steps)(),
            ));
        }
    }
    events
}

/// One session, typed line by line with pauses.
fn typed(groups: &[&[&str]]) -> Vec<Step> {
    vec![Step::Type(lines(&groups.concat())), Step::OpenForwarding, Step::Wait(200)]
}

/// Separate sessions, one after the other.
fn apart(groups: &[&[&str]]) -> Vec<Step> {
    groups
        .iter()
        .flat_map(|group| [Step::Configure(lines(group)), Step::OpenForwarding, Step::WaitUpTo(120)])
        .chain([Step::Wait(120)])
        .collect()
}

/// All in one session, without pauses.
fn pasted(group: &[&str]) -> Vec<Step> {
    vec![Step::Configure(lines(group)), Step::OpenForwarding, Step::Wait(200)]
}

fn no(line: &str) -> String {
    format!("no {line}")
}

/// The rule of a line of a numbered list as the named form removes it; in the numbered form `no`
/// removes the whole list.
fn rule_removed(line: &str) -> String {
    format!("no {}", line.trim_start_matches("access-list 101 "))
}
