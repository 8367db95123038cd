//! Keeping the kernel in line with the configuration and with the SAs.

use std::collections::BTreeSet;

use ike::Transmit;
use sa_table::routes::fingerprint;

use super::Running;
use crate::interfaces::{Kernel, KernelRoute};
use crate::routes::RouteChange;

impl Running {
    pub(super) async fn change_route(&mut self, change: RouteChange) {
        match change {
            RouteChange::Add(route) => match self.kernel.reverse_route(&route).await {
                Ok(kernel_route) => {
                    if let Err(error) = self.kernel.add(&kernel_route).await {
                        self.trouble(&error);
                    }
                    self.routes.insert(route, kernel_route);
                }
                Err(error) => self.trouble(&error),
            },
            RouteChange::Remove(route) => {
                if let Some(kernel_route) = self.routes.remove(&route)
                    && let Err(error) = self.kernel.remove(&kernel_route).await
                {
                    self.trouble(&error);
                }
            }
        }
    }

    /// Routes first, and what tells the peer that a tunnel is up only when the data plane forwards by its routes: what the peer sends then
    /// may have its answer within microseconds, and that must not leave by another way.
    pub(super) async fn send_behind_routes(&mut self, datagrams: Vec<Transmit>, changes: Vec<RouteChange>) {
        let adds = changes.iter().any(|change| matches!(change, RouteChange::Add(_)));
        for change in changes {
            self.change_route(change).await;
        }
        let now = std::time::Instant::now();
        if adds {
            self.held_back.hold(now, datagrams);
        } else {
            datagrams.iter().for_each(|datagram| self.sockets.send(datagram));
        }
        if self.held_back.is_empty() {
            return;
        }
        let destinations = self.routes.values().map(|route| (route.prefix.address, route.prefix.length));
        let forwarded = fingerprint(destinations) == self.brain.forwarded_reverse_routes();
        self.held_back.release(now, forwarded).iter().for_each(|datagram| self.sockets.send(datagram));
    }

    /// The configuration changed: the kernel follows, and then the brain knows what the kernel made of it.
    pub(super) async fn refresh_kernel(&mut self) {
        self.reported.clear();
        let configuration = self.brain.configuration().clone();
        for trouble in self.kernel.apply_interfaces(&configuration).await {
            self.trouble(&trouble);
        }
        self.refresh_devices().await;
    }

    /// Devices or addresses may have changed.
    pub(super) async fn refresh_devices(&mut self) {
        let configuration = self.brain.configuration().clone();
        match self.kernel.devices(&configuration).await {
            Ok(devices) if devices != *self.brain.devices() => {
                let now = self.now();
                self.brain.configure(now, configuration, devices);
            }
            Ok(_) => {}
            Err(error) => self.trouble(&error),
        }
        self.reconcile_routes().await;
        for error in self.sockets.serve(&self.addresses()) {
            self.trouble(&error);
        }
    }

    /// Static and reverse routes as they should be; what a killed control plane left is removed.
    pub(super) async fn reconcile_routes(&mut self) {
        let mut wanted: BTreeSet<KernelRoute> =
            Kernel::static_routes(self.brain.configuration(), self.brain.devices()).into_iter().collect();
        wanted.extend(self.routes.values().cloned());
        for trouble in self.kernel.reconcile(&wanted).await {
            self.trouble(&trouble);
        }
    }
}
