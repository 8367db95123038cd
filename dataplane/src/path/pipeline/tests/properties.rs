//! Properties for arbitrary input: no panic, no lost frame, and no packet that a permit protects
//! leaves in clear.

use super::*;
use crate::policy::flow::Ports;
use proptest::prelude::*;
use sa_table::PolicyId;
use sa_table::policy::{Action, Rule};
use sa_table::record::PortRange;

/// Permits with ports and without, a deny and a drop, so that fragments and truncated packets
/// matter.
fn rules(site: Site, policy: PolicyId) -> Vec<Rule> {
    let [all, all_v6] = <[Rule; 2]>::try_from(lab::permits(site, policy)).unwrap();
    let web = |rule: Rule| Rule {
        protocol: Some(protocol::UDP),
        destination_ports: PortRange { first: 4000, last: 5000 },
        ..rule
    };
    let denied = Rule { protocol: Some(protocol::ICMP), action: Action::Jump(3), ..all };
    let tcp = Rule { protocol: Some(protocol::TCP), action: Action::Drop, ..all };
    vec![web(all), denied, tcp, web(all_v6)]
}

#[derive(Clone, Debug)]
enum Arrival {
    /// Any bytes.
    Noise(Vec<u8>),
    /// A packet between the networks, with some bytes changed.
    Mutated { port: PortId, v6: bool, swap: bool, len: usize, changes: Vec<(u16, u8)>, fix: bool },
    /// A genuine ESP packet, with some bytes changed.
    Esp { number: usize, changes: Vec<(u16, u8)> },
    /// A packet of the host's own stack.
    Host { bytes: Vec<u8> },
    /// The SAs are installed or removed.
    Switch(bool),
    /// Time passes.
    Later(u16),
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let changes = || prop::collection::vec((0u16..120, any::<u8>()), 0..4);
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Arrival::Noise),
        6 => (0..2u16, any::<bool>(), any::<bool>(), 48usize..1600, changes(), any::<bool>()).prop_map(
            |(port, v6, swap, len, changes, fix)| Arrival::Mutated { port, v6, swap, len, changes, fix }
        ),
        3 => (0usize..16, changes()).prop_map(|(number, changes)| Arrival::Esp { number, changes }),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| Arrival::Host { bytes }),
        1 => any::<bool>().prop_map(Arrival::Switch),
        1 => (0u16..8000).prop_map(Arrival::Later),
    ]
}

fn change(bytes: &mut [u8], start: usize, changes: &[(u16, u8)]) {
    for (place, value) in changes {
        if let Some(byte) = bytes.get_mut(start + usize::from(*place)) {
            *byte = *value;
        }
    }
}

/// Whether one of the frames that left by the outside port is protected by the rules and should not
/// have left.
fn leaks(gateway: &Gateway, sent: &[u8]) -> bool {
    let packet = ip(sent);
    let Ok(summary) = wire::parse::ip_at(packet, 0) else { return true };
    let flow = Flow::of(&summary);
    if summary.source == gateway.site.outside() && summary.protocol == protocol::ESP {
        return false;
    }
    let list = crate::policy::rules::RuleList::compile(&rules(gateway.site, gateway.policy));
    let hidden = flow.ports == Ports::Hidden;
    list.outbound(&flow) != crate::policy::rules::Verdict::Clear
        || (hidden
            && flow.source == gateway.site.host(5)
            && summary.protocol == protocol::UDP
            && flow.destination == gateway.site.peer().host(6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_traffic_is_survived_without_loss_of_frames_or_secrets(arrivals in prop::collection::vec(arrival(), 1..60)) {
        let mut left = Gateway::with_rules(Site::Left, 1, 64, rules);
        let mut right = Gateway::new(Site::Right, 1, 64);
        connect(&mut left, &mut right, &Tunnel::default());
        let mut genuine = Vec::new();
        for _ in 0..16 {
            right.deliver(INSIDE, &frame(Site::Right, INSIDE, &packet(Site::Right.host(6), Site::Left.host(5), 120)));
            genuine.extend(right.sent(OUTSIDE));
        }
        let saved = left.table.policy_word(left.policy);
        for arrival in arrivals {
            match arrival {
                Arrival::Noise(bytes) => {
                    left.deliver(INSIDE, &bytes);
                    left.deliver(OUTSIDE, &bytes);
                }
                Arrival::Mutated { port, v6, swap, len, changes, fix } => {
                    let (mut from, mut to) = if v6 {
                        (Site::Left.host_v6(5), Site::Right.host_v6(6))
                    } else {
                        (Site::Left.host(5), Site::Right.host(6))
                    };
                    if swap {
                        std::mem::swap(&mut from, &mut to);
                    }
                    let mut bytes = frame(Site::Left, port, &packet(from, to, len));
                    change(&mut bytes, 14, &changes);
                    if fix && !v6 && let Ok(mut view) = ipv4::Packet::new_checked(&mut bytes[14..]) {
                        view.fill_checksum();
                    }
                    left.deliver(port, &bytes);
                }
                Arrival::Esp { number, changes } => {
                    let mut bytes = genuine[number % genuine.len()].clone();
                    change(&mut bytes, 14, &changes);
                    left.deliver(OUTSIDE, &bytes);
                }
                Arrival::Host { bytes } => {
                    let mut pool = left.umem.pool(1, 1);
                    let mut frame = pool.take().unwrap();
                    frame.append(&bytes).unwrap();
                    drop(left.shared.deliver_from_host(frame));
                    left.run();
                }
                Arrival::Switch(up) => {
                    left.table.set_policy_word(left.policy, saved.filter(|_| up)).unwrap();
                    left.run();
                }
                Arrival::Later(milliseconds) => {
                    left.now_ms += u64::from(milliseconds);
                    left.run();
                }
            }
            for sent in left.sent(OUTSIDE) {
                prop_assert!(!leaks(&left, &sent), "left in clear: {:02x?}", sent);
            }
            left.sent(INSIDE);
            left.punted();
        }
        prop_assert!(left.close(), "a frame was lost");
    }
}
