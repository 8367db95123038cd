//! `reverse-route`: the routes of an SA pair.

use std::net::IpAddr;

use super::{Gateway, Output};
use crate::plan::EntryKey;
use crate::routes::{ReverseRoute, prefixes};

impl Gateway {
    /// Adds the routes to the peer's networks that exist as long as the pair.
    pub(super) fn routes_up(
        &mut self,
        key: &EntryKey,
        remote_selectors: &[ike::TrafficSelector],
        peer: IpAddr,
    ) -> Vec<ReverseRoute> {
        let routes = self.reverse_routes(key, remote_selectors, peer);
        for route in &routes {
            if let Some(change) = self.routes.add(route.clone()) {
                self.outputs.push_back(Output::Route(change));
            }
        }
        routes
    }

    pub(super) fn routes_down(&mut self, routes: &[ReverseRoute]) {
        for route in routes {
            if let Some(change) = self.routes.remove(route) {
                self.outputs.push_back(Output::Route(change));
            }
        }
    }

    /// The routes that should be in the kernel now, for start-up and for a device that was created
    /// again.
    pub fn reverse_routes_in_use(&self) -> impl Iterator<Item = &ReverseRoute> {
        self.routes.iter()
    }

    fn reverse_routes(
        &self,
        key: &EntryKey,
        remote_selectors: &[ike::TrafficSelector],
        peer: IpAddr,
    ) -> Vec<ReverseRoute> {
        let Some(entry) = self.plan.entries.get(key) else { return Vec::new() };
        let Some(wanted) = &entry.reverse_route else { return Vec::new() };
        let mut routes: Vec<ReverseRoute> = remote_selectors
            .iter()
            .flat_map(|selector| prefixes(selector.start, selector.end))
            // A default route would send the tunnel's own packets into the tunnel.
            .filter(|prefix| prefix.length > 0 && !prefix.contains(peer))
            .map(|prefix| ReverseRoute {
                prefix,
                peer: wanted.remote_peer.unwrap_or(peer),
                gateway: wanted.gateway,
                device: entry.device.clone(),
                metric: wanted.distance.map_or(1, u32::from),
            })
            .collect();
        routes.sort();
        routes.dedup();
        routes
    }
}
