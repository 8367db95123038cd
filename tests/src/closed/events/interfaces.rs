//! Events of interfaces: from the CLI, from Linux, and at the far end of the wire.

use crate::event::{Event, Step, lines};
use crate::setup::Setup;
use crate::world::Device;

struct Act {
    name: &'static str,
    sentence: &'static str,
    steps: fn(Device) -> Vec<Step>,
}

const ACTS: &[Act] = &[
    Act {
        name: "shutdown and no shutdown",
        sentence: "is shut by the CLI and opened again",
        steps: |device| {
            let interface = format!("interface {}", device.ios_name());
            let typed = |line: &str| Step::Configure(vec![interface.clone(), line.to_owned()]);
            [
                vec![typed("shutdown"), Step::OpenForwarding, Step::Wait(200), typed("no shutdown")],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "link down and up",
        sentence: "is set down and up by `ip link`",
        steps: |device| {
            [
                vec![set(device, "down"), Step::WaitUpTo(150), Step::OpenForwarding, set(device, "up")],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "link down and up at once",
        sentence: "is set down and up by one `ip -batch` that puts everything back",
        steps: |device| {
            let name = device.name();
            let mut batch = vec![format!("link set {name} down"), format!("link set {name} up")];
            batch.extend(device.address_lines());
            [vec![Step::Ip(batch)], routes(), vec![Step::Wait(100)]].concat()
        },
    },
    Act {
        name: "carrier lost and found",
        sentence: "loses its carrier and gets it back",
        steps: |device| {
            [
                vec![far(device, "down"), Step::WaitUpTo(150), Step::OpenForwarding, Step::Plugged(device)],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "carrier flapping",
        sentence: "loses its carrier and gets it back six times in a row",
        steps: |device| {
            let mut steps = Vec::new();
            for _ in 0..6 {
                steps.extend([
                    far(device, "down"),
                    Step::WaitUpTo(20),
                    Step::Plugged(device),
                    Step::WaitUpTo(20),
                ]);
            }
            steps.extend(put_back(device));
            steps
        },
    },
    Act {
        name: "removed and made again",
        sentence: "is removed and made again, addresses and routes are put back at once",
        steps: |device| {
            [
                vec![ip(&[&format!("link delete {}", device.name())]), Step::Plug(device)],
                put_back(device),
                vec![Step::Ready],
            ]
            .concat()
        },
    },
    Act {
        name: "exchanged for another device",
        sentence: "is removed and in the same `ip -batch` another device gets its name, addresses and routes",
        steps: |device| {
            let name = device.name();
            let mut batch = vec![
                format!("link delete {name}"),
                "link set spare down".to_owned(),
                format!("link set spare name {name}"),
            ];
            batch.extend(device.address_lines());
            vec![
                Step::PlugSpare,
                Step::Ip(batch),
                Step::Route,
                Step::OpenForwarding,
                Step::Wait(250),
                ip(&[&format!("link delete {name}")]),
                Step::Plug(device),
                Step::Address(device),
                Step::Route,
                Step::Ready,
                Step::Wait(100),
            ]
        },
    },
    Act {
        name: "renamed and named back",
        sentence: "gets another name, is up with addresses and routes under it, and gets its name back",
        steps: |device| {
            let name = device.name();
            let rename = |from: &str, to: &str| {
                vec![
                    format!("link set {from} down"),
                    format!("link set {from} name {to}"),
                    format!("link set {to} up"),
                ]
            };
            let mut away = rename(name, "renamed");
            away.extend(
                device
                    .addresses()
                    .iter()
                    .map(|address| format!("address replace {address} dev renamed nodad")),
            );
            [
                vec![
                    Step::Ip(away),
                    Step::Route,
                    Step::OpenForwarding,
                    Step::Wait(200),
                    Step::Ip(rename("renamed", name)),
                ],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "moved to another namespace and back",
        sentence: "is moved to another namespace and back",
        steps: |device| {
            let name = device.name();
            [
                vec![
                    ip(&[&format!("link set {name} netns ELSEWHERE")]),
                    Step::WaitUpTo(150),
                    Step::IpElsewhere(vec![format!("link set {name} netns GATEWAY")]),
                ],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "MTU changed",
        sentence: "gets another MTU, then one that the data plane refuses, then its own",
        steps: |device| {
            let mtu = |bytes: u16| ip(&[&format!("link set {} mtu {bytes}", device.name())]);
            vec![
                mtu(1400),
                Step::Wait(100),
                mtu(9000),
                Step::OpenForwarding,
                Step::Wait(200),
                mtu(1500),
                Step::Wait(150),
            ]
        },
    },
    Act {
        name: "address replaced",
        sentence: "gets another address beside its own, loses its own, and gets it back",
        steps: |device| {
            let name = device.name();
            let [own, _] = device.addresses();
            let other = own.replace(".1/24", ".3/24");
            [
                vec![
                    ip(&[
                        &format!("address add {other} dev {name}"),
                        &format!("address delete {own} dev {name}"),
                    ]),
                    Step::Route,
                    Step::WaitUpTo(150),
                    ip(&[&format!("address flush dev {name} scope global")]),
                ],
                put_back(device),
            ]
            .concat()
        },
    },
    Act {
        name: "addresses flushed",
        sentence: "loses all addresses, and gets them back at once",
        steps: |device| {
            let mut batch = vec![format!("address flush dev {}", device.name())];
            batch.extend(device.address_lines());
            [vec![Step::Ip(batch)], put_back(device)].concat()
        },
    },
];

/// The interfaces and setups.
const WHERE: [(Setup, Device, &str); 5] = [
    (Setup::OneUplink, Device::Outside, "uplink"),
    (Setup::OneUplink, Device::Inside, "inside interface"),
    (Setup::TwoUplinks, Device::Outside, "uplink of two"),
    (Setup::TwoUplinks, Device::Second, "second uplink"),
    (Setup::Tunnel, Device::Outside, "uplink with a tunnel"),
];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (setup, device, place) in WHERE {
        for act in ACTS {
            events.push(Event::running(
                format!("{place}: {}", act.name),
                format!("The {place} {}.", act.sentence),
                setup,
                (act.steps)(device),
            ));
        }
    }
    events.extend(route_changes());
    events.extend(without_fail_close());
    events
}

/// The uplink with the map is removed and another one exists: after one second nothing leaves by
/// that one.
fn without_fail_close() -> Vec<Event> {
    const GONE: [(&str, &[&str], &[&str]); 3] = [
        ("removed", &["link delete outside"], &[]),
        (
            "renamed",
            &["link set outside down", "link set outside name renamed"],
            &["link set renamed name outside"],
        ),
        ("moved", &["link set outside netns ELSEWHERE"], &[]),
    ];
    let mut events = Vec::new();
    for (name, gone, back) in GONE {
        let mut steps = vec![Step::Grace, ip(gone), Step::Wait(1000), Step::OpenForwarding, Step::Strict];
        steps.extend([Step::Wait(200), Step::Grace]);
        match name {
            "removed" => steps.push(Step::Plug(Device::Outside)),
            "moved" => steps.push(Step::IpElsewhere(lines(&["link set outside netns GATEWAY"]))),
            _ => steps.push(ip(back)),
        }
        steps.extend(put_back(Device::Outside));
        steps.extend([Step::Ready, Step::Wait(500), Step::Strict, Step::Wait(100)]);
        events.push(Event::running(
            format!("without fail-close: uplink {name}"),
            format!(
                "The uplink with the map is {name} and a route leads through the other: from a second later on nothing leaves there in clear."
            ),
            Setup::TwoUplinksOpen,
            steps,
        ));
    }
    events
}

/// Routes that change between the uplinks.
fn route_changes() -> Vec<Event> {
    const CHANGES: [(&str, &[&str], &[&str]); 6] = [
        ("the uplink down and the second one left", &["link set outside down"], &["link set outside up"]),
        (
            "default route to the second uplink",
            &["route replace default via 198.51.100.2", "route delete 10.2.0.0/16"],
            &[],
        ),
        ("protected route to the second uplink", &["route replace 10.2.0.0/16 via 198.51.100.2"], &[]),
        (
            "more specific route to the second uplink",
            &["route add 10.2.0.0/24 via 198.51.100.2"],
            &["route delete 10.2.0.0/24"],
        ),
        (
            "two equal paths over both uplinks",
            &["route replace 10.2.0.0/16 nexthop via 192.0.2.2 nexthop via 198.51.100.2"],
            &[],
        ),
        (
            "policy routing to the second uplink",
            &[
                "route add default via 198.51.100.2 table 777",
                "rule add pref 5 from 192.168.1.0/24 table 777",
            ],
            &["rule delete pref 5", "route flush table 777"],
        ),
    ];
    let mut events = Vec::new();
    for setup in [Setup::TwoUplinks, Setup::TwoUplinksOpen] {
        for (name, away, back) in CHANGES {
            let fail_close = setup == Setup::TwoUplinks;
            let suffix = if fail_close { "" } else { ", without fail-close" };
            let mut event = Event::running(
                format!("routes: {name}{suffix}"),
                format!(
                    "Routing changes: {name}, and back. {}",
                    if fail_close {
                        "With `fail-close` nothing leaves there in clear."
                    } else {
                        "Without `fail-close` it leaves there in clear, as on IOS, which is counted apart."
                    }
                ),
                setup,
                [
                    vec![ip(away), Step::OpenForwarding, Step::Wait(200)],
                    if back.is_empty() { vec![] } else { vec![ip(back)] },
                    vec![Step::Route, Step::Wait(100)],
                ]
                .concat(),
            );
            event.clear_as_ios = !fail_close;
            events.push(event);
        }
    }
    events
}

fn ip(batch: &[&str]) -> Step {
    Step::Ip(lines(batch))
}

fn set(device: Device, state: &str) -> Step {
    ip(&[&format!("link set {} {state}", device.name())])
}

fn far(device: Device, state: &str) -> Step {
    Step::IpAtFarEnd(device, vec![format!("link set {} {state}", device.far_end())])
}

fn routes() -> Vec<Step> {
    vec![Step::Route, Step::OpenForwarding]
}

/// Restores addresses and routes, and waits until all processes have noticed.
fn put_back(device: Device) -> Vec<Step> {
    vec![Step::Address(device), Step::Route, Step::OpenForwarding, Step::Wait(200)]
}
