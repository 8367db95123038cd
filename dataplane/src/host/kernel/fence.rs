//! Policy routing that keeps packets between protected prefixes which the kernel routes, forwarded
//! or local, off every device.
//!
//! The rules of all crypto maps are repeated as policy-routing rules: a permit uses the routing
//! table of the instance, whose routes lead to the punt port, hence to a worker, or are
//! unreachable; a deny continues after its crypto-map entry. Unlike the guard this is not bound to
//! a device, so it also holds for a device that has just appeared. It is exact as far as a route
//! look-up sees the packet: ports of later fragments, and ports 0 and 65535 at the ends of ranges,
//! are left to the guard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::IpProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::{Handle, IpVersion};
use sa_table::policy::{Action, Rule};
use sa_table::record::PortRange;

use super::local_traffic::{IKE_PORTS, LocalTraffic, PROTOCOL, add, delete, rule};
use super::netlink::{Netlink, NetlinkError};
use crate::process::closing::Former;

/// Largest number of rules of one list that are repeated individually. The kernel walks
/// policy-routing rules for each look-up, so longer lists are reduced to their destination
/// prefixes.
const MOST: usize = BANK as usize - 1;
/// Priorities of one list; a new list is written in the other bank, which is then removed.
const BANK: u32 = 120;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl LocalTraffic {
    /// Replaces the fence by that of `rules`: everything is written before anything of the former
    /// one is removed. `punt` is the name of the punt port: packets from there were already judged
    /// by a worker and are exempt. A former fence that is kept stays after the new one.
    ///
    /// # Errors
    /// Netlink failed; the former fence stays in force.
    pub fn fence(
        &self,
        netlink: &Netlink,
        punt: Option<&str>,
        rules: &[Rule],
        former: Former,
    ) -> Result<(), NetlinkError> {
        netlink.run(async {
            let handle = netlink.handle();
            for version in [IpVersion::V4, IpVersion::V6] {
                let is_v4 = matches!(version, IpVersion::V4);
                let present = match self.own_rules(handle, version).await {
                    Err(error) if error.errno() == Some(libc::EAFNOSUPPORT) => continue,
                    result => result?,
                };
                let concerned = rules.iter().any(|rule| rule.source.address.is_ipv4() == is_v4);
                if concerned || !present.is_empty() {
                    self.replace(handle, is_v4, &present, punt, (rules, former)).await?;
                }
            }
            Ok(())
        })
    }

    async fn replace(
        &self,
        handle: &Handle,
        is_v4: bool,
        present: &[RuleMessage],
        punt: Option<&str>,
        (rules, former): (&[Rule], Former),
    ) -> Result<(), NetlinkError> {
        for exemption in self.exemptions(is_v4, punt) {
            add(handle, exemption).await?;
        }
        let banks = [self.priority + 1, self.priority + 1 + BANK];
        let stands = |bank: u32| present.iter().any(|rule| (bank..bank + BANK).contains(&priority(rule)));
        if former == Former::Kept && banks.into_iter().all(stands) {
            // Both banks are in use. The guard drops what only this list would add.
            return Ok(());
        }
        let (old, new) = if stands(banks[0]) { (banks[0], banks[1]) } else { (banks[1], banks[0]) };
        // Remove what a process that was killed at this point left of the new list.
        for rule in present.iter().filter(|rule| (new..new + BANK).contains(&priority(rule))) {
            delete(handle, rule.clone()).await?;
        }
        for message in self.list(is_v4, new, rules) {
            add(handle, message).await?;
        }
        let of_old = |rule: &&RuleMessage| (old..old + BANK).contains(&priority(rule));
        for rule in present.iter().filter(of_old).filter(|_| former == Former::Replaced) {
            delete(handle, rule.clone()).await?;
        }
        Ok(())
    }

    /// `iif PUNT goto END`, `iif lo udp sport 500 goto END`, the same for 4500, and `END: nop`.
    fn exemptions(&self, is_v4: bool, punt: Option<&str>) -> Vec<RuleMessage> {
        let end = self.priority + PRIORITIES - 1;
        let exempt = |device: &str| {
            let mut exempt = rule(is_v4, RuleAction::Goto, self.priority);
            exempt.attributes.extend([
                RuleAttribute::Protocol(PROTOCOL),
                RuleAttribute::Iifname(device.to_owned()),
                RuleAttribute::Goto(end),
            ]);
            exempt
        };
        let mut landing = rule(is_v4, RuleAction::Nop, end);
        landing.attributes.push(RuleAttribute::Protocol(PROTOCOL));
        let mut rules = vec![landing];
        rules.extend(punt.map(exempt));
        for port in IKE_PORTS {
            let mut ike = exempt("lo");
            ike.attributes.extend([
                RuleAttribute::IpProtocol(IpProtocol::Udp),
                RuleAttribute::SourcePortRange(RulePortRange { start: port, end: port }),
            ]);
            rules.push(ike);
        }
        rules
    }

    /// The list as policy-routing rules, the first one with priority `first`.
    fn list(&self, is_v4: bool, first: u32, rules: &[Rule]) -> Vec<RuleMessage> {
        let mut messages = Vec::new();
        let mut landing = rule(is_v4, RuleAction::Nop, first + BANK - 1);
        landing.attributes.push(RuleAttribute::Protocol(PROTOCOL));
        messages.push(landing);
        let exact = rules.len() <= MOST;
        for (at, one) in (first..).zip(rules) {
            if one.source.address.is_ipv4() != is_v4 {
                continue;
            }
            match one.action {
                Action::Jump(_) if !exact => {}
                Action::Jump(target) => {
                    messages.extend(self.deny(one, at, (first + target).min(first + BANK - 1)));
                }
                Action::Protect(_) | Action::Drop if exact => messages.extend(self.permit(one, at)),
                Action::Protect(_) | Action::Drop => {
                    let mut coarse = self.towards(one, first);
                    coarse.attributes.push(RuleAttribute::Table(self.table));
                    if !messages.contains(&coarse) {
                        messages.push(coarse);
                    }
                }
            }
        }
        messages
    }

    /// A look-up without source address may yield a protected source, so it matches too.
    fn permit(&self, one: &Rule, at: u32) -> [RuleMessage; 2] {
        let mut sent = self.towards(one, at);
        protocol_and_ports(&mut sent, one, true);
        sent.attributes.push(RuleAttribute::Table(self.table));
        let mut unsourced = self.towards(one, at);
        protocol_and_ports(&mut unsourced, one, false);
        unsourced.attributes.push(RuleAttribute::Table(self.table));
        unsourced.attributes.push(RuleAttribute::Iifname("lo".to_owned()));
        let (any, length) = match one.source.address {
            IpAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
            IpAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
        };
        unsourced.header.src_len = length;
        unsourced.attributes.push(RuleAttribute::Source(any));
        source(&mut sent, one);
        [sent, unsourced]
    }

    /// `None` if a look-up cannot compare the condition; those packets stay closed.
    fn deny(&self, one: &Rule, at: u32, target: u32) -> Option<RuleMessage> {
        if matches!(one.protocol, Some(ICMP | ICMPV6)) && one.source_ports != PortRange::ANY {
            return None;
        }
        let mut message = self.towards(one, at);
        message.header.action = RuleAction::Goto;
        protocol_and_ports(&mut message, one, true);
        source(&mut message, one);
        message.attributes.push(RuleAttribute::Goto(target));
        Some(message)
    }

    fn towards(&self, one: &Rule, at: u32) -> RuleMessage {
        let mut message = rule(one.source.address.is_ipv4(), RuleAction::ToTable, at);
        message.attributes.push(RuleAttribute::Protocol(PROTOCOL));
        message.header.dst_len = one.destination.length;
        if one.destination.length > 0 {
            message.attributes.push(RuleAttribute::Destination(one.destination.address));
        }
        message
    }
}

fn source(message: &mut RuleMessage, one: &Rule) {
    message.header.src_len = one.source.length;
    if one.source.length > 0 {
        message.attributes.push(RuleAttribute::Source(one.source.address));
    }
}

fn protocol_and_ports(message: &mut RuleMessage, one: &Rule, with_source_port: bool) {
    let Some(protocol) = one.protocol else { return };
    message.attributes.push(RuleAttribute::IpProtocol(IpProtocol::from(i32::from(protocol))));
    // In place of ports ICMP has type and code, which a routing rule does not compare.
    if matches!(protocol, ICMP | ICMPV6) {
        return;
    }
    if with_source_port {
        message.attributes.extend(range(one.source_ports).map(RuleAttribute::SourcePortRange));
    }
    message.attributes.extend(range(one.destination_ports).map(RuleAttribute::DestinationPortRange));
}

/// The kernel takes no range that includes port 0 or 65535 (`fib_rule_port_range_valid`).
fn range(ports: PortRange) -> Option<RulePortRange> {
    if ports == PortRange::ANY {
        return None;
    }
    let (start, end) = (ports.first.clamp(1, u16::MAX - 1), ports.last.clamp(1, u16::MAX - 1));
    Some(RulePortRange { start, end: end.max(start) })
}

fn priority(rule: &RuleMessage) -> u32 {
    rule.attributes
        .iter()
        .find_map(|attribute| match attribute {
            RuleAttribute::Priority(priority) => Some(*priority),
            _ => None,
        })
        .unwrap_or(0)
}

/// Number of rule priorities that an instance uses.
pub const PRIORITIES: u32 = 2 * BANK + 2;
