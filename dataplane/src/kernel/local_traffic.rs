//! Policy routing that brings this host's own packets for protected prefixes into the punt port.
//!
//! The kernel's own path never reaches a worker, so `iif lo to PREFIX` looks into a table of our own whose default route
//! is the punt port. Behind it stands an unreachable default: without punt port nothing falls through to the main table.
//! IKE is exempted, or `permit ip any any` would send it into its own tunnel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use netlink_packet_route::IpProtocol;
use netlink_packet_route::route::{RouteProtocol, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use crate::address_bits::AddressBits;

use super::netlink::{Netlink, NetlinkError, netlink_errno};

/// The rules and the table of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTraffic {
    /// Number of the routing table.
    pub table: u32,
    /// Priority of the first rule; [`PRIORITIES`] numbers from here on are ours.
    pub priority: u32,
}

/// How many rule priorities an instance takes.
pub const PRIORITIES: u32 = 4;

/// `FRA_PROTOCOL` of our rules: marks them as ours for whoever lists or removes them.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(183);
pub(super) const IKE_PORTS: [u16; 2] = [500, 4500];

impl LocalTraffic {
    /// Points the table at the punt port, and behind it at nothing.
    ///
    /// # Errors
    /// Netlink refused.
    pub fn set_default(&self, netlink: &Netlink, punt_ifindex: u32) -> Result<(), NetlinkError> {
        netlink.run(async {
            let table = self.table;
            let v4 = RouteMessageBuilder::<Ipv4Addr>::new().table_id(table);
            let v6 = RouteMessageBuilder::<Ipv6Addr>::new().table_id(table);
            let routes = [
                v4.clone().output_interface(punt_ifindex).build(),
                v4.kind(RouteType::Unreachable).priority(LAST_RESORT).build(),
                v6.clone().output_interface(punt_ifindex).build(),
                v6.kind(RouteType::Unreachable).priority(LAST_RESORT).build(),
            ];
            for (index, route) in routes.into_iter().enumerate() {
                match netlink.handle().route().add(route).replace().execute().await {
                    // A host without IPv6 has no IPv6 to protect.
                    Err(error) if index > 1 && no_ipv6(&error) => {}
                    result => {
                        result
                            .map_err(NetlinkError::request(format!("add default route to table {table}")))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes the rules those of `prefixes`: new ones are added before old ones are removed.
    ///
    /// # Errors
    /// Netlink refused.
    pub fn set_prefixes(
        &self,
        netlink: &Netlink,
        prefixes: impl IntoIterator<Item = (IpAddr, u8)>,
    ) -> Result<(), NetlinkError> {
        let wanted: BTreeSet<(IpAddr, u8)> = prefixes.into_iter().map(|(a, l)| (network(a, l), l)).collect();
        netlink.run(async {
            let handle = netlink.handle();
            for version in [IpVersion::V4, IpVersion::V6] {
                let is_v4 = matches!(version, IpVersion::V4);
                let wanted: BTreeSet<_> =
                    wanted.iter().copied().filter(|(a, _)| a.is_ipv4() == is_v4).collect();
                let present = match self.own_rules(handle, version).await {
                    Err(error) if wanted.is_empty() && error.errno() == Some(libc::EAFNOSUPPORT) => continue,
                    result => result?,
                };
                if !wanted.is_empty() && present.is_empty() {
                    for rule in self.exemptions(is_v4) {
                        add(handle, rule).await?;
                    }
                }
                let standing: BTreeSet<_> = present.iter().filter_map(destination).collect();
                for (address, length) in wanted.difference(&standing) {
                    add(handle, self.prefix_rule(*address, *length)).await?;
                }
                for rule in present {
                    let stale = destination(&rule).is_some_and(|prefix| !wanted.contains(&prefix));
                    if stale || wanted.is_empty() {
                        delete(handle, rule).await?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Removes rules and table.
    ///
    /// # Errors
    /// Netlink refused.
    pub fn release(&self, netlink: &Netlink) -> Result<(), NetlinkError> {
        self.set_prefixes(netlink, [])?;
        netlink.run(async {
            let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
            let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
            for query in [v4, v6] {
                let routes: Vec<_> = netlink
                    .handle()
                    .route()
                    .get(query)
                    .execute()
                    .try_filter(|route| {
                        let own = route.attributes.iter().any(|attribute| {
                            matches!(attribute, netlink_packet_route::route::RouteAttribute::Table(table) if *table == self.table)
                        });
                        futures::future::ready(own)
                    })
                    .try_collect()
                    .await
                    .map_err(NetlinkError::request("list routes"))?;
                for route in routes {
                    ignore_absent(netlink.handle().route().del(route).execute().await)
                        .map_err(NetlinkError::request(format!("empty table {}", self.table)))?;
                }
            }
            Ok(())
        })
    }

    async fn own_rules(&self, handle: &Handle, version: IpVersion) -> Result<Vec<RuleMessage>, NetlinkError> {
        let ours = self.priority..self.priority + PRIORITIES;
        let rules: Vec<RuleMessage> = handle
            .rule()
            .get(version)
            .execute()
            .try_collect()
            .await
            .map_err(NetlinkError::request("list rules"))?;
        Ok(rules
            .into_iter()
            .filter(|rule| {
                rule.attributes.contains(&RuleAttribute::Protocol(PROTOCOL))
                    && rule.attributes.iter().any(
                        |one| matches!(one, RuleAttribute::Priority(priority) if ours.contains(priority)),
                    )
            })
            .collect())
    }

    /// `iif lo udp sport 500 goto END`, the same for 4500, and `END: nop`.
    fn exemptions(&self, is_v4: bool) -> Vec<RuleMessage> {
        let end = self.priority + PRIORITIES - 1;
        let mut landing = rule(is_v4, RuleAction::Nop, end);
        landing.attributes.push(RuleAttribute::Protocol(PROTOCOL));
        let mut rules = vec![landing];
        for port in IKE_PORTS {
            let mut exempt = rule(is_v4, RuleAction::Goto, self.priority);
            exempt.attributes.extend([
                RuleAttribute::Protocol(PROTOCOL),
                RuleAttribute::Iifname("lo".to_owned()),
                RuleAttribute::Goto(end),
                RuleAttribute::IpProtocol(IpProtocol::Udp),
                RuleAttribute::SourcePortRange(RulePortRange { start: port, end: port }),
            ]);
            rules.push(exempt);
        }
        rules
    }

    fn prefix_rule(&self, address: IpAddr, length: u8) -> RuleMessage {
        let mut message = rule(address.is_ipv4(), RuleAction::ToTable, self.priority + 1);
        message.header.dst_len = length;
        message.attributes.extend([
            RuleAttribute::Protocol(PROTOCOL),
            RuleAttribute::Iifname("lo".to_owned()),
            RuleAttribute::Table(self.table),
        ]);
        if length > 0 {
            message.attributes.push(RuleAttribute::Destination(address));
        }
        message
    }
}

/// Behind every other route of the table.
const LAST_RESORT: u32 = u32::MAX - 1;

fn rule(is_v4: bool, action: RuleAction, priority: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if is_v4 {
        netlink_packet_route::AddressFamily::Inet
    } else {
        netlink_packet_route::AddressFamily::Inet6
    };
    message.header.action = action;
    message.attributes.push(RuleAttribute::Priority(priority));
    message
}

/// The prefix of a rule that looks into our table.
fn destination(rule: &RuleMessage) -> Option<(IpAddr, u8)> {
    if rule.header.action != RuleAction::ToTable {
        return None;
    }
    let address = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Destination(address) => Some(*address),
        _ => None,
    });
    let any = match rule.header.family {
        netlink_packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Some((address.unwrap_or(any), rule.header.dst_len))
}

async fn add(handle: &Handle, rule: RuleMessage) -> Result<(), NetlinkError> {
    let mut request = handle.rule().add();
    *request.message_mut() = rule;
    match request.execute().await {
        Err(error) if netlink_errno(&error) == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(NetlinkError::request("add policy-routing rule")),
    }
}

async fn delete(handle: &Handle, rule: RuleMessage) -> Result<(), NetlinkError> {
    ignore_absent(handle.rule().del(rule).execute().await)
        .map_err(NetlinkError::request("remove policy-routing rule"))
}

pub(super) fn ignore_absent(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(error) if matches!(netlink_errno(&error), Some(libc::ENOENT | libc::ESRCH)) => Ok(()),
        other => other,
    }
}

fn no_ipv6(error: &rtnetlink::Error) -> bool {
    matches!(netlink_errno(error), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES | libc::ENODEV))
}

/// The address without its host bits: how the kernel shows it.
pub(super) fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().range(length).0)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().range(length).0)),
    }
}
