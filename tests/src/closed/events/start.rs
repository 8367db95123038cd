//! Cold starts: the steps of a boot in every possible order.

use crate::event::{Begin, Event, Step};
use crate::setup::Setup;
use crate::world::Device;

/// The steps of a boot. An address needs its device, a route the address.
const NETWORK: [(char, &str); 3] = [('D', "device"), ('A', "address"), ('R', "route")];

pub fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for order in orders() {
        let words: Vec<&str> = order.iter().map(|letter| word(*letter)).collect();
        let words = words.join(", ");
        events.push(Event::from_state(
            Begin::GuardedWithoutWires,
            format!("cold start: {words}"),
            format!("The machine boots and the boot guard ran. In this order: {words}."),
            Setup::OneUplink,
            steps(&order, &[Device::Inside, Device::Outside]),
        ));
        // For a late uplink forwarding is only opened first or last; the position matters less
        // there.
        if order.first() != Some(&'F') && order.last() != Some(&'F') {
            continue;
        }
        events.push(Event::from_state(
            Begin::GuardedWithoutUplink,
            format!("late uplink: {words}"),
            format!("Everything but the uplink is there, and the boot guard ran. In this order: {words}."),
            Setup::TwoUplinks,
            steps(&order, &[Device::Outside]),
        ));
    }
    events
}

/// Device, address and route in this order, with forwarding and the process at any position.
fn orders() -> Vec<Vec<char>> {
    let network: Vec<char> = NETWORK.iter().map(|(letter, _)| *letter).collect();
    let mut orders = Vec::new();
    for switches in 0..=network.len() {
        let mut with_switches = network.clone();
        with_switches.insert(switches, 'F');
        for process in 0..=with_switches.len() {
            let mut order = with_switches.clone();
            order.insert(process, 'P');
            orders.push(order);
        }
    }
    orders
}

fn word(letter: char) -> &'static str {
    match letter {
        'F' => "forwarding",
        'P' => "process",
        _ => NETWORK.iter().find(|(known, _)| *known == letter).map_or("", |(_, word)| word),
    }
}

fn steps(order: &[char], devices: &[Device]) -> Vec<Step> {
    let mut steps = vec![Step::CloseForwarding];
    for letter in order {
        match letter {
            'D' => steps.extend(devices.iter().map(|device| Step::Plug(*device))),
            'A' => steps.extend(devices.iter().map(|device| Step::Address(*device))),
            'R' => steps.push(Step::Route),
            'F' => steps.push(Step::OpenForwarding),
            _ => steps.push(Step::Start),
        }
        steps.push(Step::WaitUpTo(80));
    }
    steps.extend([Step::ReadyAtLast, Step::Wait(100)]);
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn twenty_orders_and_no_address_before_its_device() {
        let orders: BTreeSet<Vec<char>> = orders().into_iter().collect();
        assert_eq!(orders.len(), 20);
        for order in orders {
            let at = |letter| order.iter().position(|known| *known == letter);
            assert!(at('D') < at('A') && at('A') < at('R'), "{order:?}");
        }
    }
}
