//! Packets that are sent, received or forged.

use std::net::{IpAddr, SocketAddr};

use super::Network;
use super::due::Happening;
use crate::gateway::Condition;
use crate::plane::{Inbound, Outbound, Packet, Sealed};

impl Network {
    pub(super) fn ike_arrives(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(index) = self.at(to.ip()) else { return };
        let gateway = &mut self.gateways[index];
        match gateway.condition {
            Condition::Asleep => {}
            Condition::Stalled => gateway.pile_up((from, to, bytes.to_vec())),
            Condition::Running => {
                let clock = gateway.clock(self.now);
                gateway.control.handle_datagram(clock, from, to, bytes);
                self.follow_up(index);
            }
        }
    }

    /// Injects a forged datagram. It may change only counters and half-open IKE SAs.
    pub fn forge(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(index) = self.at(to.ip()) else { return };
        if self.gateways[index].condition != Condition::Running {
            return;
        }
        self.with_monitor(|monitor, network| monitor.before_forgery(network, index));
        self.ike_arrives(from, to, bytes);
        self.with_monitor(|monitor, network| monitor.after_forgery(network, index));
    }

    /// ESP that was not encrypted with the keys of the SA.
    pub fn forge_esp(&mut self, from: IpAddr, to: IpAddr, sealed: Sealed) {
        let Some(index) = self.at(to) else { return };
        self.with_monitor(|monitor, network| monitor.before_forgery(network, index));
        self.esp_arrives(from, to, sealed);
        self.with_monitor(|monitor, network| monitor.after_forgery(network, index));
    }

    pub(super) fn esp_arrives(&mut self, from: IpAddr, to: IpAddr, sealed: Sealed) {
        let Some(index) = self.at(to).filter(|index| self.gateways[*index].condition != Condition::Asleep)
        else {
            return;
        };
        let gateway = &mut self.gateways[index];
        let stamp = self.now - gateway.lag;
        let mut released = std::mem::take(&mut self.sealed);
        gateway.plane.tick(stamp, &mut released);
        let received = gateway.plane.receive(stamp, from, to, sealed);
        self.sealed = released;
        self.post_sealed(index);
        match received {
            Inbound::Accepted(packet) if packet.answer => {
                self.with_monitor(|monitor, network| monitor.answered(network, index, from));
                self.answered(&packet);
            }
            Inbound::Accepted(packet) => {
                let answer = packet.reversed();
                self.send(index, answer);
            }
            Inbound::UnknownSpi | Inbound::NotAuthentic | Inbound::Replayed | Inbound::WrongSelector => {
                self.events(index);
            }
        }
    }

    fn answered(&mut self, packet: &Packet) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(packet.flow) else { return };
        flow.answered += 1;
        flow.last_answer = now;
        if let Some((_, answer)) = flow.journal.as_mut().and_then(|log| log.get_mut(packet.number as usize)) {
            answer.get_or_insert(now);
        }
    }

    /// A host behind a gateway sends a packet.
    pub(super) fn send(&mut self, index: usize, packet: Packet) {
        let gateway = &mut self.gateways[index];
        if gateway.condition == Condition::Asleep {
            return;
        }
        let stamp = self.now - gateway.lag;
        let tuple = packet.tuple;
        let mut released = std::mem::take(&mut self.sealed);
        gateway.plane.tick(stamp, &mut released);
        let outcome = gateway.plane.send(stamp, packet);
        self.sealed = released;
        let clear = matches!(outcome, Outbound::Clear);
        if let Outbound::Sealed(sealed) = outcome {
            self.sealed.push(sealed);
        }
        self.post_sealed(index);
        self.with_monitor(|monitor, network| monitor.left(network, index, &tuple, clear));
        self.events(index);
    }

    /// Passes the data plane's events to a running control plane.
    pub(super) fn events(&mut self, index: usize) {
        if self.gateways[index].condition == Condition::Running {
            self.follow_up(index);
        }
    }

    pub(super) fn tick(&mut self, index: usize) {
        let gateway = &mut self.gateways[index];
        let stamp = self.now - gateway.lag;
        let mut released = std::mem::take(&mut self.sealed);
        gateway.plane.tick(stamp, &mut released);
        self.sealed = released;
        self.post_sealed(index);
    }

    fn post_sealed(&mut self, index: usize) {
        let from = self.gateways[index].address;
        let mut released = std::mem::take(&mut self.sealed);
        for sealed in released.drain(..) {
            let to = sealed.sa.destination;
            if let Some(delay) = self.wire.way_of_esp(from, to) {
                self.put(delay, Happening::Esp { from, to, sealed });
            }
        }
        self.sealed = released;
    }
}
