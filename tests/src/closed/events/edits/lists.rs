//! Edits of the access list and of the lines that refer to it.

use super::{ENTRY, Edit, PERMIT, apart, no, pasted, rule_removed, typed};
use crate::event::{Step, lines};

/// In the order of their effect on the list.
pub const EDITS: &[Edit] = &[
    Edit {
        name: "access list replaced line by line",
        sentence: "The access list is removed and typed again, one line after the other.",
        steps: || {
            typed(&[&[
                "no access-list 101",
                "access-list 101 permit ip host 192.168.1.99 host 10.2.9.9",
                PERMIT,
            ]])
        },
    },
    Edit {
        name: "access list replaced, pasted",
        sentence: "The access list is removed and pasted again.",
        steps: || {
            pasted(&["no access-list 101", "access-list 101 permit tcp any host 10.2.9.9 eq 443", PERMIT])
        },
    },
    Edit {
        name: "permit removed and typed again",
        sentence: "The only permit is removed by its own line, and typed again.",
        steps: || typed(&[&[&no(PERMIT), PERMIT]]),
    },
    Edit {
        name: "permit removed and pasted again",
        sentence: "The only permit is removed and added in one paste.",
        steps: || pasted(&[&no(PERMIT), PERMIT]),
    },
    Edit {
        name: "access list deleted",
        sentence: "The list of the map in force is deleted and the session left: that is refused and the list put back.",
        steps: || vec![Step::Refused(lines(&["no access-list 101"])), Step::OpenForwarding, Step::Wait(200)],
    },
    Edit {
        name: "last peer deleted",
        sentence: "The last peer of the entry in force is deleted and the session left: put back.",
        steps: || {
            vec![
                Step::Refused(lines(&[ENTRY, "no set peer 203.0.113.2"])),
                Step::OpenForwarding,
                Step::Wait(200),
            ]
        },
    },
    Edit {
        name: "entry deleted",
        sentence: "The only entry of the map in force is deleted and the session left: put back.",
        steps: || {
            vec![Step::Refused(lines(&["no crypto map tohub 1"])), Step::OpenForwarding, Step::Wait(200)]
        },
    },
    Edit {
        name: "map deleted",
        sentence: "The map in force is deleted and the session left: put back.",
        steps: || vec![Step::Refused(lines(&["no crypto map tohub"])), Step::OpenForwarding, Step::Wait(200)],
    },
    Edit {
        name: "connection lost while a list is replaced",
        sentence: "The session that replaces the list breaks off behind the first line; later another one types the rest.",
        steps: || {
            vec![
                Step::TypeAndLose(lines(&[
                    "no access-list 101",
                    "access-list 101 permit tcp any host 10.2.9.9 eq 443",
                ])),
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Configure(lines(&["no access-list 101", PERMIT])),
                Step::Wait(150),
            ]
        },
    },
    Edit {
        name: "two sessions",
        sentence: "One session removes the list and breaks off while another one edits the entry.",
        steps: || {
            vec![
                Step::TypeAndLose(lines(&["no access-list 101"])),
                Step::TryConfigure(lines(&[ENTRY, "description other session"])),
                Step::OpenForwarding,
                Step::Wait(150),
                Step::Configure(lines(&["no access-list 101", PERMIT, ENTRY, "no description"])),
                Step::Wait(150),
            ]
        },
    },
    Edit {
        name: "permit by sequence number",
        sentence: "In the named form of the list a rule is inserted in front of the permit, and removed by its number.",
        steps: || {
            apart(&[
                &["ip access-list extended 101", "5 permit udp any host 10.2.9.9"],
                &["ip access-list extended 101", "no 5"],
            ])
        },
    },
    Edit {
        name: "list resequenced",
        sentence: "The access list is numbered anew.",
        steps: || {
            apart(&[&["ip access-list resequence 101 100 5"], &["ip access-list resequence 101 10 10"]])
        },
    },
    Edit {
        name: "hundred permits added and removed",
        sentence: "The list grows by a hundred permits in one paste and shrinks again.",
        steps: || {
            let permits: Vec<String> = (0..100)
                .map(|host| format!("access-list 101 permit ip host 172.16.0.{host} 10.2.0.0 0.0.255.255"))
                .collect();
            let mut undone = lines(&["ip access-list extended 101"]);
            undone.extend(permits.iter().map(|line| rule_removed(line)));
            vec![Step::Configure(permits), Step::Wait(150), Step::Configure(undone), Step::Wait(150)]
        },
    },
    Edit {
        name: "wider permit in place of the narrow one",
        sentence: "A wider permit is added, the narrow one removed, and the other way round.",
        steps: || {
            let wide = "access-list 101 permit ip 192.168.0.0 0.0.255.255 10.0.0.0 0.255.255.255";
            let named = "ip access-list extended 101";
            typed(&[&[wide, named, &rule_removed(PERMIT), PERMIT, named, &rule_removed(wide)]])
        },
    },
    Edit {
        name: "list exchanged in the entry",
        sentence: "The entry gets another list with the same permit, and its own again.",
        steps: || {
            apart(&[
                &["access-list 102 permit ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255"],
                &[ENTRY, "match address 102"],
                &[ENTRY, "match address 101"],
                &["no access-list 102"],
            ])
        },
    },
    Edit {
        name: "deny beside the permit",
        sentence: "A deny for another network is added behind the permit, and removed.",
        steps: || {
            let deny = "access-list 101 deny ip 192.168.1.0 0.0.0.255 10.9.0.0 0.0.255.255";
            apart(&[&[deny], &["ip access-list extended 101", &rule_removed(deny)]])
        },
    },
];
