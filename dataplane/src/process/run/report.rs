//! The report of the status socket.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::Dataplane;
use crate::host::ports::Missing;
use crate::process::guarded::locked;
use crate::process::status;
use crate::process::worker::monotonic_ms;

impl Dataplane<'_> {
    /// The report of the status socket as JSON.
    pub(super) fn report(&self) -> Value {
        let engine = self.engine.as_ref();
        let workers = engine.map_or(&[][..], |engine| &engine.cores);
        let generation = self.kernel.load().generation();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "state": if engine.is_some() && self.uncommitted.is_none() { "ready" } else { "waiting" },
            "instance": self.instance.name(),
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "policy_version": self.version.0,
            "incarnation": engine.map(|engine| engine.shared.runtime.incarnation()),
            "mode": engine.map(|engine| engine.mode.to_string()),
            "copy_reason": engine.and_then(|engine| engine.copy_reason.as_ref()).map(ToString::to_string),
            "aead": self.backend.name(),
            "frames": engine.map(|engine| engine.frames),
            "locked_memory": self.hygiene.locked,
            "pins": self.programs.pins(),
            "kernel_generation": generation,
            "ports": self.port_report(),
            "missing_ports": self.ports.missing.iter().map(|Missing { device, ios_name, reason, .. }| {
                json!({"device": device, "name": ios_name, "reason": reason})
            }).collect::<Vec<_>>(),
            "limits": self.limits,
            "workers": status::workers(&self.runtime, workers, monotonic_ms()),
            "drops": status::drops(&self.runtime, workers.len()),
            "access_lists": self.filters.matches().map(|(list, line, matches)| {
                json!({"list": list, "line": line, "matches": matches})
            }).collect::<Vec<_>>(),
            "programs": self.programs.counters().unwrap_or_default().into_iter().map(|(name, value)| {
                (name.to_owned(), json!(value))
            }).collect::<serde_json::Map<_, _>>(),
            "sockets": engine.map(|engine| engine.sockets.iter().map(|socket| {
                let kernel = rustix::net::sockopt::xdp_statistics(&socket.descriptor).ok();
                json!({
                    "device": socket.device,
                    "queue": socket.queue,
                    "worker": socket.worker,
                    "rx_dropped": kernel.as_ref().map(|one| one.rx_dropped),
                    "rx_ring_full": kernel.as_ref().and_then(|one| one.rx_ring_full),
                    "rx_fill_ring_empty": kernel.as_ref().and_then(|one| one.rx_fill_ring_empty_descs),
                    "rx_invalid": kernel.as_ref().map(|one| one.rx_invalid_descs),
                    "tx_invalid": kernel.as_ref().map(|one| one.tx_invalid_descs),
                })
            }).collect::<Vec<_>>()),
            "punt": {
                "device": self.punt.name(),
                "to_host": load(&self.punt_counters.to_host),
                "from_host": load(&self.punt_counters.from_host),
                "refused": load(&self.punt_counters.refused),
                "overflow": load(&self.punt_counters.overflow),
            },
        })
    }

    fn port_report(&self) -> Vec<Value> {
        self.ports
            .bound
            .iter()
            .map(|port| {
                let attached = self.attached.iter().find(|(device, _)| *device == port.device);
                let attached = attached.map(|(_, attached)| attached);
                json!({
                    "id": port.id,
                    "device": port.device,
                    "name": port.ios_name,
                    "ifindex": port.ifindex,
                    "queues": port.queues,
                    "crypto_map": port.crypto_map,
                    "xdp": attached.map(|attached| attached.mode.name()),
                    "skb_reason": attached.and_then(|attached| attached.skb_reason.clone()),
                    "guarded": locked(&self.guard).contains(port.ifindex),
                })
            })
            .collect()
    }
}
