//! Manual removal of the guard. It is attached again within a second; packets sent in that second
//! are counted separately.

use crate::event::{Ending, Event, Process, Step};
use crate::setup::Setup;

/// What is removed, as a pattern below `$PINS`.
const PINS: [(&str, &str); 4] = [
    ("links of the guard", "[!x]*-[0-9]*"),
    ("links of the ingress program", "xdp-[0-9]*"),
    ("maps", "[A-Z]*"),
    ("pins", "*"),
];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (name, pattern) in PINS {
        events.push(Event::running(
            format!("by hand: {name} removed"),
            format!("The pinned {name} are removed by hand while the gateway runs."),
            Setup::TwoUplinks,
            vec![
                Step::Grace,
                remove(pattern),
                Step::OpenForwarding,
                Step::Wait(1000),
                Step::Strict,
                Step::Wait(200),
            ],
        ));
        events.push(Event::running(
            format!("by hand: {name} removed, then the data plane killed"),
            format!("The pinned {name} are removed by hand; when they are back the data plane is killed."),
            Setup::OneUplink,
            vec![
                Step::Grace,
                remove(pattern),
                Step::Wait(1000),
                Step::Strict,
                Step::End(Process::DataPlane, Ending::Kill),
                Step::OpenForwarding,
                Step::Wait(150),
                Step::Ready,
            ],
        ));
    }
    events.push(Event::running(
        "by hand: policy routing removed".to_owned(),
        "The rules and the table that bring protected packets to the workers are flushed by hand.".to_owned(),
        Setup::OneUplink,
        vec![
            Step::Shell(
                "ip rule show | grep -v -e 'lookup local' -e 'lookup main' -e 'lookup default' | \
                 while IFS=: read pref rest; do ip rule delete pref $pref; done"
                    .to_owned(),
            ),
            Step::OpenForwarding,
            Step::Wait(300),
        ],
    ));
    events.push(Event::running(
        "by hand: punt port removed".to_owned(),
        "The TUN device of the gateway is set down by hand.".to_owned(),
        Setup::OneUplink,
        vec![
            Step::Shell("ip link set tohub0 down".to_owned()),
            Step::OpenForwarding,
            Step::Wait(200),
            Step::Shell("ip link set tohub0 up".to_owned()),
            Step::Wait(200),
        ],
    ));
    events.push(Event::running(
        "by hand: run directory emptied".to_owned(),
        "The sockets and files of the run directory are removed by hand; then the gateway is started anew."
            .to_owned(),
        Setup::OneUplink,
        vec![
            Step::Shell("find $RUN -type s -delete; rm -f $RUN/forwarding* $RUN/*.lock".to_owned()),
            Step::OpenForwarding,
            Step::Wait(300),
            Step::Stop,
            Step::Start,
            Step::Ready,
        ],
    ));
    events
}

fn remove(pattern: &str) -> Step {
    Step::Shell(format!("rm -rf $PINS/{pattern}"))
}
