//! Configuration lines for property tests, of every kind that affects rules for whole
//! configurations.

use proptest::prelude::*;

/// One to many lines, including repeated and invalid ones.
pub(crate) fn lines() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(line(), 1..40)
}

fn line() -> impl Strategy<Value = String> {
    let number = 1u32..4;
    prop_oneof![
        8 => (number.clone(), 0usize..IN_ENTRY.len()).prop_map(|(n, line)| fill(IN_ENTRY[line], n)),
        8 => (number.clone(), 0usize..GLOBAL.len()).prop_map(|(n, line)| fill(GLOBAL[line], n)),
        4 => (number, 0usize..LISTS.len()).prop_map(|(n, line)| fill(LISTS[line], n)),
    ]
}

fn fill(line: &str, number: u32) -> String {
    line.replace('N', &number.to_string())
}

const IN_ENTRY: &[&str] = &[
    "crypto map m N ipsec-isakmp",
    "crypto map m N ipsec-manual",
    "no crypto map m N",
    "crypto dynamic-map d N",
    "no crypto dynamic-map d N",
    "set peer 10.1.1.N",
    "set peer 10.1.1.N default",
    "set peer hubN.example",
    "set peer nowhere.example",
    "no set peer 10.1.1.N",
    "set transform-set tN",
    "match address 10N",
    "no match address",
    "set ip access-group 10N in",
    "set ip access-group fN out",
    "no set ip access-group in",
    "set security-association idle-time N20 default",
    "no set security-association idle-time",
    "description N",
];

const GLOBAL: &[&str] = &[
    "crypto ipsec transform-set tN esp-gcm",
    "no crypto ipsec transform-set tN",
    "crypto ipsec security-association idle-time N20",
    "no crypto ipsec security-association idle-time",
    "interface GigabitEthernet0/N",
    "ip access-group 10N in",
    "ip access-group fN out",
    "no ip access-group in",
    "crypto map m",
    "no crypto map",
    "interface TunnelN",
    "device ethN",
    "no device",
    "no crypto map m",
    "crypto map m fail-close",
    "hostname RN",
    "ip host hubN.example 10.9.9.N",
    "crypto isakmp keepalive N0",
    "exit",
    "do show privilege",
    "no such line",
    "! a comment",
];

const LISTS: &[&str] = &[
    "access-list 10N permit ip 192.168.N.0 0.0.0.255 any",
    "access-list 10N permit tcp any any established",
    "access-list 10N permit ip 10.0.0.0 0.255.0.N any",
    "no access-list 10N",
    "ip access-list extended fN",
    "no ip access-list extended fN",
    "permit udp any any eq isakmp",
    "permit esp any any",
    "deny ip host 10.0.0.N any",
    "no 10",
    "ip access-list resequence 10N N 5",
];
