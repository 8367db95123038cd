//! The routing table of an instance, which packets for protected prefixes use instead of the main
//! table.
//!
//! Its default route is the punt port. An unreachable default with a higher metric follows: without
//! punt port nothing falls through to the main table. The policy-routing rules of [`super::fence`]
//! select the packets that use this table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use netlink_packet_route::route::{RouteProtocol, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use crate::policy::address_bits::AddressBits;

use super::fence::PRIORITIES;
use super::netlink::{Netlink, NetlinkError, netlink_errno};

/// The rules and the table of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTraffic {
    /// Number of the routing table.
    pub table: u32,
    /// Priority of the first rule; [`PRIORITIES`] priorities from here on are reserved for the
    /// instance.
    pub priority: u32,
}

/// `FRA_PROTOCOL` of our rules: identifies them when rules are listed or removed.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(183);
pub(super) const IKE_PORTS: [u16; 2] = [500, 4500];

impl LocalTraffic {
    /// Writes the unreachable default route, and in front of it the default route to the punt port
    /// if there is one.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn set_default(&self, netlink: &Netlink, punt_ifindex: Option<u32>) -> Result<(), NetlinkError> {
        netlink.run(async {
            let table = self.table;
            let v4 = RouteMessageBuilder::<Ipv4Addr>::new().table_id(table);
            let v6 = RouteMessageBuilder::<Ipv6Addr>::new().table_id(table);
            let mut routes = vec![
                (false, v4.clone().kind(RouteType::Unreachable).priority(LAST_RESORT).build()),
                (true, v6.clone().kind(RouteType::Unreachable).priority(LAST_RESORT).build()),
            ];
            if let Some(ifindex) = punt_ifindex {
                routes.push((false, v4.output_interface(ifindex).build()));
                routes.push((true, v6.output_interface(ifindex).build()));
            }
            for (is_v6, route) in routes {
                match netlink.handle().route().add(route).replace().execute().await {
                    // A host without IPv6 has no IPv6 to protect.
                    Err(error) if is_v6 && no_ipv6(&error) => {}
                    result => {
                        result
                            .map_err(NetlinkError::request(format!("add default route to table {table}")))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Removes rules and table.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn release(&self, netlink: &Netlink) -> Result<(), NetlinkError> {
        netlink.run(async {
            for version in [IpVersion::V4, IpVersion::V6] {
                let rules = match self.own_rules(netlink.handle(), version).await {
                    Err(error) if error.errno() == Some(libc::EAFNOSUPPORT) => continue,
                    result => result?,
                };
                for rule in rules {
                    delete(netlink.handle(), rule).await?;
                }
            }
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

    pub(super) async fn own_rules(
        &self,
        handle: &Handle,
        version: IpVersion,
    ) -> Result<Vec<RuleMessage>, NetlinkError> {
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
}

/// Metric after every other route of the table.
const LAST_RESORT: u32 = u32::MAX - 1;

pub(super) fn rule(is_v4: bool, action: RuleAction, priority: u32) -> RuleMessage {
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

pub(super) async fn add(handle: &Handle, rule: RuleMessage) -> Result<(), NetlinkError> {
    let mut request = handle.rule().add();
    *request.message_mut() = rule;
    match request.execute().await {
        Err(error) if netlink_errno(&error) == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(NetlinkError::request("add policy-routing rule")),
    }
}

pub(super) async fn delete(handle: &Handle, rule: RuleMessage) -> Result<(), NetlinkError> {
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

/// The address without its host bits, as the kernel shows it.
pub(super) fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().range(length).0)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().range(length).0)),
    }
}
