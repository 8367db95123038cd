//! Keeps the kernel consistent with the configuration and the SAs.

use std::collections::BTreeSet;
use std::time::Duration;

use config::model::InterfaceName;
use ike::Transmit;
use sa_table::routes::fingerprint;

use super::{Running, ServiceError, held_back};
use crate::interfaces::{Kernel, KernelRoute};
use crate::routes::RouteChange;
use crate::sockets::SocketError;

/// How long an edit waits for the guard to cover the devices that it names. Then it continues, and
/// the links are set later.
const GUARD_PATIENCE: Duration = Duration::from_millis(400);

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

    /// Order for every tunnel: the policy is in force in the guard and in every worker, then the
    /// routes are added, then the datagram is sent to the peer. The peer may send traffic at once,
    /// and the replies to it, microseconds later, must not leave in clear or by another route.
    pub(super) async fn send_behind_routes(&mut self, datagrams: Vec<Transmit>, changes: Vec<RouteChange>) {
        let version = self.gateway.policy_version();
        let published = std::mem::replace(&mut self.policy_version, version) != version;
        let adds = changes.iter().any(|change| matches!(change, RouteChange::Add(_)));
        if published || adds || !(changes.is_empty() || self.held_back.is_empty()) {
            self.held_back.hold(changes, datagrams);
        } else {
            for change in changes {
                self.change_route(change).await;
            }
            let (behind, free): (Vec<_>, Vec<_>) =
                datagrams.into_iter().partition(|datagram| self.held_back.concerns(datagram.to));
            self.held_back.hold(Vec::new(), behind);
            free.iter().for_each(|datagram| self.sockets.send(datagram));
        }
        if self.held_back.is_empty() {
            return;
        }
        let now = std::time::Instant::now();
        if self.gateway.policy_in_force() {
            for change in self.held_back.take_changes(now) {
                self.change_route(change).await;
            }
        }
        let destinations = self.routes.values().map(|route| (route.prefix.address, route.prefix.length));
        let forwarded = fingerprint(destinations) == self.gateway.forwarded_reverse_routes();
        self.held_back.release(now, forwarded).iter().for_each(|datagram| self.sockets.send(datagram));
    }

    /// The configuration changed: first the guard covers its devices, then the kernel is updated,
    /// then the gateway gets the resulting state of the devices.
    pub(super) async fn refresh_kernel(&mut self) -> Result<(), ServiceError> {
        self.reported.clear();
        self.refresh_devices().await;
        self.facts.interfaces_wait = true;
        let deadline = std::time::Instant::now() + GUARD_PATIENCE;
        while !self.gateway.guard_covers_interfaces() && std::time::Instant::now() < deadline {
            tokio::time::sleep(held_back::LOOK_AGAIN).await;
        }
        self.bring_up().await
    }

    /// Sets addresses, links and routes of the configuration once the guard covers every existing
    /// device, and not before.
    ///
    /// # Errors
    /// At start-up, an IKE socket that cannot be opened.
    pub(super) async fn bring_up(&mut self) -> Result<(), ServiceError> {
        if !self.facts.interfaces_wait || !self.gateway.guard_covers_interfaces() {
            return Ok(());
        }
        self.facts.interfaces_wait = false;
        let configuration = self.gateway.configuration().clone();
        for trouble in self.kernel.apply_interfaces(&configuration).await {
            self.trouble(&trouble);
        }
        let first = !std::mem::replace(&mut self.serves, true);
        let troubles = self.follow_devices().await;
        self.facts.brought_up = Some(self.gateway.count_kernel_change());
        if first {
            return troubles.into_iter().next().map_or(Ok(()), |error| Err(error.into()));
        }
        troubles.iter().for_each(|error| self.trouble(error));
        Ok(())
    }

    /// Handles a possible change of devices or addresses.
    pub(super) async fn refresh_devices(&mut self) {
        for error in self.follow_devices().await {
            self.trouble(&error);
        }
    }

    async fn follow_devices(&mut self) -> Vec<SocketError> {
        let configuration = self.gateway.configuration().clone();
        match self.kernel.devices(&configuration, !self.serves).await {
            Ok(devices) if devices != *self.gateway.devices() => {
                let known =
                    |name: &InterfaceName| self.gateway.devices().get(name).map(|device| device.ifindex);
                // A device that was created again needs its addresses.
                self.facts.interfaces_wait |=
                    devices.iter().any(|(name, device)| known(name) != Some(device.ifindex));
                let now = self.now();
                self.gateway.configure(now, configuration, devices);
            }
            Ok(_) => {}
            Err(error) => self.trouble(&error),
        }
        if !self.serves {
            return Vec::new();
        }
        self.reconcile_routes().await;
        self.sockets.serve(&self.addresses())
    }

    /// Sets static and reverse routes and removes those of a control plane that was killed.
    pub(super) async fn reconcile_routes(&mut self) {
        let mut wanted: BTreeSet<KernelRoute> =
            Kernel::static_routes(self.gateway.configuration(), self.gateway.devices()).into_iter().collect();
        wanted.extend(self.routes.values().cloned());
        for trouble in self.kernel.reconcile(&wanted).await {
            self.trouble(&trouble);
        }
    }
}
