//! Further events: the boot guard alone, upgrade, release, new devices, a busy machine, a hub whose
//! branches connect.

use crate::event::{Begin, Event, Step, lines};
use crate::setup::Setup;
use crate::world::Device;

pub fn events() -> Vec<Event> {
    let mut events = guard_alone();
    events.extend(stops());
    events.extend(new_devices());
    events.extend(hubs());
    events.extend(exactness());
    events
}

fn guard_alone() -> Vec<Event> {
    let mut events = Vec::new();
    for setup in [Setup::OneUplink, Setup::TwoUplinks] {
        let words = setup.describe();
        let event = |begin, name: &str, sentence: &str, steps| {
            Event::from_state(
                begin,
                format!("guard alone: {name}, {words}"),
                format!("{sentence} ({words})."),
                setup,
                steps,
            )
        };
        events.push(event(
            Begin::Guarded,
            "nothing else",
            "`tohub guard` ran, nothing else does; the switches are opened",
            vec![Step::OpenForwarding, Step::Wait(400), Step::ReachesGateway],
        ));
        events.push(event(
            Begin::Guarded,
            "twice",
            "`tohub guard` runs twice more over what it loaded",
            vec![Step::Guard, Step::OpenForwarding, Step::Guard, Step::Wait(200)],
        ));
        events.push(event(
            Begin::Running,
            "over a running gateway",
            "`tohub guard` is run by hand while the gateway runs, which guards itself: it is refused",
            vec![
                Step::TohubRefuses(lines(&["guard", "--config", "CONFIG"]), 9),
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Ready,
            ],
        ));
        events.push(event(
            Begin::Fresh,
            "first load under traffic",
            "`tohub guard` runs while packets already pass; they count from its end on",
            vec![Step::OpenForwarding, Step::Wait(50), Step::Guard, Step::Strict, Step::Wait(300)],
        ));
        events.push(event(
            Begin::Guarded,
            "damaged file afterwards",
            "The file is damaged after the boot guard ran, and `tohub guard` runs again",
            vec![
                Step::Shell("cp -p $CONFIG $CONFIG.kept; echo 'no such line' >>$CONFIG".to_owned()),
                Step::TryGuard,
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Shell("rm -f $CONFIG".to_owned()),
                Step::TryGuard,
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Shell("mv $CONFIG.kept $CONFIG".to_owned()),
            ],
        ));
        events.push(event(
            Begin::Guarded,
            "another file, damaged",
            "A file that protects other prefixes and has a refused line takes the place of the first, and `tohub guard` runs again: both are closed",
            vec![
                Step::Shell(
                    "cp -p $CONFIG $CONFIG.kept; sed -i 's/ 10\\.2\\.0\\.0 / 10.77.0.0 /' $CONFIG; echo 'no such line' >>$CONFIG"
                        .to_owned(),
                ),
                Step::TryGuard,
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Shell("mv $CONFIG.kept $CONFIG".to_owned()),
            ],
        ));
        events.push(event(
            Begin::Guarded,
            "taken off under the watch",
            "`tohub guard --watch` runs alone, and the guard is taken off by hand: it is back within a second, and what was sent meanwhile is counted apart",
            vec![
                Step::Shell(
                    "setsid $TOHUB --run-dir $RUN guard --watch </dev/null >/dev/null 2>&1 & sleep 0.3".to_owned(),
                ),
                Step::Grace,
                Step::Shell("rm -f $PINS/departure-* $PINS/arrival-*".to_owned()),
                Step::OpenForwarding,
                Step::Wait(1300),
                Step::Strict,
                Step::Wait(200),
            ],
        ));
        events.push(event(
            Begin::Fresh,
            "damaged file at the first load",
            "The file has a line that is refused when `tohub guard` runs for the first time: its permits are closed everywhere",
            vec![
                Step::Shell("cp -p $CONFIG $CONFIG.kept; echo 'no such line' >>$CONFIG".to_owned()),
                Step::TryGuard,
                Step::Strict,
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Shell("mv $CONFIG.kept $CONFIG".to_owned()),
            ],
        ));
    }
    events
}

fn stops() -> Vec<Event> {
    let mut events = Vec::new();
    for setup in [Setup::OneUplink, Setup::TwoUplinks, Setup::Tunnel] {
        let words = setup.describe();
        events.push(Event::running(
            format!("stop and start: {words}"),
            format!("An upgrade: the gateway is stopped, the forwarding switches are opened, and it is started ({words})."),
            setup,
            vec![Step::Stop, Step::OpenForwarding, Step::Wait(300), Step::Start, Step::Ready, Step::Wait(100)],
        ));
        events.push(Event::running(
            format!("release refused: {words}"),
            format!("`tohub release` is refused while the gateway runs, twice ({words})."),
            setup,
            vec![
                Step::TohubRefuses(lines(&["release"]), 9),
                Step::OpenForwarding,
                Step::Wait(100),
                Step::TohubRefuses(lines(&["release"]), 9),
                Step::Wait(100),
            ],
        ));
    }
    events.push(Event::running(
        "stop, uplink made again, start".to_owned(),
        "The gateway is stopped; the uplink is removed and made again while nothing runs; then it is started.".to_owned(),
        Setup::OneUplink,
        vec![
            Step::Stop,
            Step::Ip(lines(&["link delete outside"])),
            Step::Plug(Device::Outside),
            Step::Address(Device::Outside),
            Step::Route,
            Step::OpenForwarding,
            Step::Wait(300),
            Step::Start,
            Step::Ready,
        ],
    ));
    events.push(Event::from_state(
        Begin::Fresh,
        "start without boot guard".to_owned(),
        "The gateway starts under traffic without a boot guard; packets count from its readiness on."
            .to_owned(),
        Setup::OneUplink,
        vec![Step::Start, Step::Ready, Step::Strict, Step::OpenForwarding, Step::Wait(300)],
    ));
    events.push(Event::from_state(
        Begin::Guarded,
        "start without the inside device".to_owned(),
        "The gateway starts while the device of the inside interface has another name, which it gets back later.".to_owned(),
        Setup::OneUplink,
        vec![
            Step::Ip(lines(&["link set inside down", "link set inside name other", "link set other up"])),
            Step::Start,
            Step::Ready,
            Step::OpenForwarding,
            Step::Wait(150),
            Step::Ip(lines(&["link set other down", "link set other name inside", "link set inside up"])),
            Step::Wait(150),
            Step::Ready,
        ],
    ));
    events.push(Event::running(
        "busy machine".to_owned(),
        "Every core is busy with other work while the data plane is killed.".to_owned(),
        Setup::OneUplink,
        vec![
            Step::Shell(
                "for core in 1 2 3 4; do timeout 1 sh -c 'while :; do :; done' >/dev/null 2>&1 & done"
                    .to_owned(),
            ),
            Step::Wait(200),
            Step::End(crate::event::Process::DataPlane, crate::event::Ending::Kill),
            Step::OpenForwarding,
            Step::Wait(900),
            Step::Ready,
        ],
    ));
    events
}

/// Devices that are not in the configuration.
fn new_devices() -> Vec<Event> {
    let away = [
        "address add 198.51.100.65/26 dev spare nodad",
        "route replace 10.2.0.0/16 via 198.51.100.66 dev spare",
    ];
    let bridged = ["link add bridge9 type bridge", "link set spare master bridge9", "link set bridge9 up"];
    let back = "link delete spare";
    vec![
        Event::running(
            "new device: a third uplink".to_owned(),
            "A device that the configuration does not name appears, with a route for the protected network."
                .to_owned(),
            Setup::TwoUplinks,
            vec![
                Step::PlugSpare,
                Step::Ip(lines(&away)),
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Ip(lines(&[back])),
                Step::Route,
                Step::Wait(100),
            ],
        ),
        Event::from_state(
            Begin::Guarded,
            "new device: a third uplink, only the guard".to_owned(),
            "The same while nothing runs but what the boot guard left.".to_owned(),
            Setup::TwoUplinks,
            vec![
                Step::PlugSpare,
                Step::Ip(lines(&away)),
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Ip(lines(&[back])),
                Step::Route,
            ],
        ),
        Event::running(
            "new device: a bridge over a new device".to_owned(),
            "A bridge is made over a new device and becomes the way to the protected network.".to_owned(),
            Setup::TwoUplinks,
            vec![
                Step::PlugSpare,
                Step::Ip(lines(&bridged)),
                Step::Ip(lines(&[
                    "address add 198.51.100.65/26 dev bridge9 nodad",
                    "route replace 10.2.0.0/16 via 198.51.100.66 dev bridge9",
                ])),
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Ip(lines(&["link delete bridge9", back])),
                Step::Route,
                Step::Wait(100),
            ],
        ),
        Event::running(
            "new device: a tunnel of VXLAN over the uplink".to_owned(),
            "A VXLAN device over the uplink becomes the way to the protected network.".to_owned(),
            Setup::TwoUplinks,
            vec![
                Step::Ip(lines(&[
                    "link add vxlan9 type vxlan id 9 dstport 4789 remote 192.0.2.2 local 192.0.2.1",
                    "address add 198.51.100.129/26 dev vxlan9 nodad",
                    "link set vxlan9 up",
                    "neigh replace 198.51.100.130 lladdr 02:00:00:00:00:99 dev vxlan9",
                    "route replace 10.2.0.0/16 via 198.51.100.130 dev vxlan9",
                ])),
                Step::OpenForwarding,
                Step::Wait(300),
                Step::Ip(lines(&["link delete vxlan9"])),
                Step::Route,
                Step::Wait(100),
            ],
        ),
    ]
}

/// A hub must not answer in clear while a tunnel comes up.
fn hubs() -> Vec<Event> {
    let mut events = Vec::new();
    for setup in [Setup::DynamicMap, Setup::DynamicMapAny] {
        let words = setup.describe();
        let mut again = Vec::new();
        for command in
            ["clear crypto sa", "clear crypto ikev2 sa", "clear crypto sa", "clear crypto ikev2 sa"]
        {
            again.extend([
                Step::Exec(command.to_owned()),
                Step::OpenForwarding,
                Step::WaitUpTo(100),
                Step::TunnelUp,
                Step::Wait(100),
            ]);
        }
        events.push(Event::running(
            format!("hub: the branch comes up again and again, {words}"),
            format!("The branch's tunnel is cleared and comes up four times; its host sends every millisecond ({words})."),
            setup,
            again,
        ));
        events.push(Event::running(
            format!("hub: the branch comes up after a restart, {words}"),
            format!("The hub is stopped and started; the branch comes up under traffic ({words})."),
            setup,
            vec![Step::Stop, Step::OpenForwarding, Step::Start, Step::Ready, Step::TunnelUp, Step::Wait(150)],
        ));
        events.push(Event::running(
            format!("hub: data plane killed, {words}"),
            format!("The hub's data plane is killed while the branch sends ({words})."),
            setup,
            vec![
                Step::End(crate::event::Process::DataPlane, crate::event::Ending::Kill),
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Ready,
            ],
        ));
        events.push(Event::running(
            format!("hub: control plane killed, {words}"),
            format!("The hub's control plane is killed while the branch sends ({words})."),
            setup,
            vec![
                Step::End(crate::event::Process::ControlPlane, crate::event::Ending::Kill),
                Step::OpenForwarding,
                Step::Wait(200),
                Step::Ready,
            ],
        ));
    }
    events
}

/// Packets that no permit selects still pass.
fn exactness() -> Vec<Event> {
    let mut events = Vec::new();
    for (begin, words) in [
        (Begin::Running, "the gateway runs"),
        (Begin::Guarded, "only the boot guard ran"),
        (Begin::Stopped, "the gateway was stopped"),
    ] {
        events.push(Event::from_state(
            begin,
            format!("exact: {words}"),
            format!("While {words}, unprotected packets are forwarded and TCP reaches the gateway; protected ones are not."),
            Setup::OneUplink,
            vec![Step::OpenForwarding, Step::UnprotectedPasses, Step::ReachesGateway, Step::Wait(100)],
        ));
    }
    events.push(Event::running(
        "exact: the tunnel carries".to_owned(),
        "Packets of the host come out behind the peer while the forwarding switches are written all the time.".to_owned(),
        Setup::Tunnel,
        vec![Step::OpenForwarding, Step::TunnelCarries, Step::UnprotectedPasses, Step::Wait(100)],
    ));
    events
}
