//! A minimal control plane: initiates without an IKE SA, requests missing children, probes the
//! peer.

use std::time::Duration;

use ike::{ChildRequest, ChildTag, Command, InstallChild};

use super::network::{A, Network};

/// The intended state of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// It initiates if there is no IKE SA.
    pub initiates: bool,
    /// The children that it requests.
    pub children: Vec<ChildTag>,
    /// Interval of its probes in milliseconds; 0 for never.
    pub probe: u64,
}

/// Executes what is due now.
pub fn attend(network: &mut Network, which: usize, wishes: &Wishes) {
    let gateway = &network.gateways[which];
    if gateway.stalled_until > network.now {
        return;
    }
    let busy = gateway.endpoint.ike_sas().any(|info| info.initiator && !info.established);
    let missing: Vec<ChildTag> = wishes
        .children
        .iter()
        .filter(|tag| {
            !gateway.asked.contains_key(tag) && gateway.children.values().all(|child| child.tag != **tag)
        })
        .copied()
        .collect();
    let Some(&ike) = gateway.up.keys().next() else {
        if wishes.initiates && !busy {
            initiate(network, which);
        }
        return;
    };
    for tag in missing {
        network.gateways[which].asked.insert(tag, ike);
        network.command(which, Command::CreateChild { ike, child: ChildRequest::new(tag) });
    }
    close_twins(network, which, &wishes.children);
    if wishes.probe > 0 {
        let interval = Duration::from_millis(wishes.probe);
        let up: Vec<_> = network.gateways[which].up.keys().copied().collect();
        for ike in up {
            network.command(which, Command::Liveness { ike, interval, retries: 5 });
        }
    }
}

/// Both ends may create the same child at once, for example after a restart: of two that replace
/// nothing the older one is closed. Duplicates from a rekey are left to the endpoint.
fn close_twins(network: &mut Network, which: usize, wanted: &[ChildTag]) {
    for tag in wanted {
        let made_anew = |child: &&InstallChild| child.tag == *tag && child.replaces.is_none();
        let twins: Vec<_> = network.gateways[which].children.values().filter(made_anew).collect();
        if let [older, _, ..] = twins[..] {
            let child = older.child;
            network.command(which, Command::DeleteChild { child });
        }
    }
}

/// Initiates an IKE SA; a includes its first child, b none, since a requests them.
pub fn initiate(network: &mut Network, which: usize) {
    let (local, remote) = (network.gateways[which].address, network.gateways[1 - which].address);
    let child = (which == A).then(|| ChildRequest::new(ChildTag(1)));
    let connection = ike::ConnectionId(1);
    let ike = network.command(which, Command::Initiate { connection, child, local, remote });
    if which == A {
        network.gateways[which].asked.extend(ike.map(|ike| (ChildTag(1), ike)));
    }
}
