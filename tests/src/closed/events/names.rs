//! Interfaces with unusual names, without a device, and of a type that has no packet path.

use crate::event::{Begin, Event, Step};
use crate::setup::Setup;

pub fn events() -> Vec<Event> {
    let setups = [
        Setup::Named("Dialer1"),
        Setup::Named("Tunnel0"),
        Setup::Named("Loopback1"),
        Setup::NoDeviceLine,
        Setup::MapOnTun,
        Setup::MapOnBridge,
    ];
    let mut events = Vec::new();
    for setup in setups {
        events.push(Event::from_state(
            Begin::Guarded,
            format!("name: {}, after boot", setup.describe()),
            format!("The boot guard ran, and then the gateway starts: {}.", setup.describe()),
            setup,
            vec![Step::Wait(100), Step::Start, Step::ReadyOrEnded, Step::OpenForwarding, Step::Wait(300)],
        ));
        events.push(Event::from_state(
            Begin::Fresh,
            format!("name: {}, without boot guard", setup.describe()),
            format!(
                "The gateway starts without a boot guard; packets count from its readiness on: {}.",
                setup.describe()
            ),
            setup,
            vec![Step::Start, Step::ReadyOrEnded, Step::Strict, Step::OpenForwarding, Step::Wait(300)],
        ));
    }
    events
}
