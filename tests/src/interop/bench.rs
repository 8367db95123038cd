//! The bench of one case: namespaces, wires, the third-party peer, tohub, and a capture of the wire
//! between them.
//!
//! ```text
//! host ── gateway ──(router)── peer, 10.2.0.1 behind it
//! 192.168.1.10
//! ```
//!
//! The end behind the router has 172.16.0.2 and is translated to 192.0.2.1 (tohub) or 192.0.2.2
//! (the peer).

use lab::Result;
use lab::capture::{Capture, Recording};
use lab::command::{LabError, wait_for};
use lab::gateway::Gateway;
use lab::namespace::{Namespace, connect};
use lab::peer::{KEY, Stranger, make_pki, render, tail};

use crate::case::{Case, Nat, Opposite, Wire};
use crate::vm::Machine;

/// Our address as the peer sees it.
pub const OURS: &str = "192.0.2.1";
/// The peer's address as we see it.
pub const THEIRS: &str = "192.0.2.2";
/// The address of the end behind the router.
pub const HIDDEN: &str = "172.16.0.2";
const ROUTER_INSIDE: &str = "172.16.0.1";
/// The host behind tohub.
pub const HOST: &str = "192.168.1.10";
/// The host behind the peer: an address of its own.
pub const FAR_HOST: &str = "10.2.0.1";

/// A running case.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The case that is run.
    pub case: &'a Case,
    /// Observations for the table.
    pub seen: Vec<String>,
    // Gateway before wires: fields drop in order, so the gateway is released first.
    /// tohub.
    pub gateway: Gateway,
    /// The host behind it.
    pub host: Namespace,
    /// The peer, of this case or in a virtual machine that serves many.
    pub stranger: Opponent<'a>,
    /// The router, in the cases with a translator.
    pub router: Option<Namespace>,
    wire: Option<Capture>,
}

/// The peer of a case.
#[derive(Debug)]
pub enum Opponent<'a> {
    /// In a namespace that lives as long as the case.
    Own(Stranger, Namespace),
    /// In a virtual machine.
    Guest(&'a Machine, crate::vm::Plug<'a>),
}

impl Opponent<'_> {
    /// The program.
    pub fn program(&self) -> &Stranger {
        match self {
            Self::Own(stranger, _) => stranger,
            Self::Guest(machine, _) => &machine.stranger,
        }
    }

    /// The namespace that it is in; the guest of a virtual machine is bridged to it.
    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Own(_, namespace) => namespace,
            Self::Guest(machine, _) => &machine.namespace,
        }
    }
}

/// The two ends of a case's traffic.
#[derive(Debug)]
pub struct Ends<'b> {
    /// On our side: the host, or the gateway itself in transport mode.
    pub near: &'b Namespace,
    /// Its address.
    pub near_address: &'static str,
    /// On the peer's side.
    pub far_address: &'static str,
}

impl<'a> Bench<'a> {
    /// The ends of the traffic.
    pub fn ends(&self) -> Ends<'_> {
        if self.case.transport {
            Ends { near: self.gateway.namespace(), near_address: OURS, far_address: THEIRS }
        } else {
            Ends { near: &self.host, near_address: HOST, far_address: FAR_HOST }
        }
    }

    /// Builds everything. `machine` is the virtual machine for cases that need one.
    pub fn start(case: &'a Case, machine: Option<&'a Machine>) -> Result<Self> {
        let (host, gateway) = (Namespace::new("host")?, Namespace::new("gateway")?);
        connect(&host, "eth0", &gateway, "inside")?;
        host.address("eth0", "192.168.1.10/24")?;
        host.end_host_offloads("eth0")?;
        host.route("default", "192.168.1.1")?;

        let pki = case.pki.map(make_pki).transpose()?;
        let folder = pki.as_ref().map(tempfile::TempDir::path);
        let mut router = None;
        let stranger = match (case.opposite, machine) {
            (Opposite::Namespace(release), _) => {
                let network = Namespace::new("stranger")?;
                match case.nat {
                    Nat::None => {
                        connect(&gateway, "outside", &network, "eth0")?;
                        network.address("eth0", &format!("{THEIRS}/24"))?;
                    }
                    side => router = Some(translator(side, &gateway, &network)?),
                }
                network.end_host_offloads("eth0")?;
                network.ip(&["address", "add", &format!("{FAR_HOST}/16"), "dev", "lo"])?;
                let stranger =
                    Stranger::strongswan(&network, release, &stranger_configuration(case)?, folder)?;
                Opponent::Own(stranger, network)
            }
            (_, Some(machine)) => {
                let plug = machine.plug(&gateway, "outside")?;
                machine.prepare(case, folder)?;
                Opponent::Guest(machine, plug)
            }
            (_, None) => return fail("this case needs a virtual machine"),
        };
        let wire = match (&router, &stranger) {
            (Some(router), _) => Capture::start(router, "outer")?,
            (None, Opponent::Own(_, network)) => Capture::start(network, "eth0")?,
            (None, Opponent::Guest(machine, plug)) => Capture::start(&machine.namespace, plug.interface())?,
        };
        let started = Gateway::start(gateway, &our_configuration(case), case.ours.scale);
        let gateway = match started {
            Ok(gateway) => gateway,
            Err(error) => return fail(&format!("{error}\nconfiguration:\n{}", our_configuration(case))),
        };
        if let Some(folder) = folder {
            gateway.configure(&[&format!(
                "crypto pki import T pem url {}",
                folder.join("gateway.pem").display()
            )])?;
            // Until then the crypto-map entry has no certificate and drops protected packets.
            wait_for("the data plane to apply the import", 10, || {
                gateway.log().contains("policy applied version=2").then_some(())
            })?;
        }
        Ok(Self { case, seen: Vec::new(), gateway, host, stranger, router, wire: Some(wire) })
    }

    /// Starts the peer again after its process died.
    pub fn restart_stranger(&self) -> Result<()> {
        match (&self.stranger, self.case.opposite) {
            (Opponent::Own(stranger, _), Opposite::Namespace(release)) => {
                stranger.restart_strongswan(release, &stranger_configuration(self.case)?)
            }
            _ => fail("only a stranger of its own is started again"),
        }
    }

    /// Ends the capture and checks the requirements of every case: no clear packet, and the
    /// expected form of ESP.
    pub fn judge_wire(&mut self) -> Result<()> {
        let Some(wire) = self.wire.take() else { return fail("the wire was read already") };
        let recording = wire.finish()?;
        if recording.dropped > 0 {
            return fail(&format!("the capture missed {} packets", recording.dropped));
        }
        let clear =
            if self.case.transport { recording.describe_unprotected() } else { recording.describe_clear() };
        if !clear.is_empty() {
            return fail(&format!("{} clear packets, for example {}", clear.len(), clear[0]));
        }
        let (plain, udp) = (recording.esp_packets(), recording.udp_esp_packets());
        let right = match self.case.wire {
            Wire::Plain => plain > 0 && udp == 0,
            Wire::Udp => udp > 0 && plain == 0,
            Wire::Nothing => plain + udp == 0,
        };
        if !right {
            return fail(&format!("{plain} plain ESP packets, {udp} in UDP"));
        }
        self.look_further(&recording)
    }

    fn look_further(&mut self, recording: &Recording) -> Result<()> {
        let [plain, udp] = [recording.esp_packets(), recording.udp_esp_packets()];
        match self.case.wire {
            Wire::Plain => self.seen.push(format!("{plain} ESP")),
            Wire::Udp => self.seen.push(format!("{udp} ESP in UDP")),
            Wire::Nothing => self.seen.push("no ESP".to_owned()),
        }
        if self.case.nat != Nat::None && recording.nat_keepalives() > 0 {
            self.seen.push(format!("{} keepalives", recording.nat_keepalives()));
        }
        Ok(())
    }

    /// The ends of both logs.
    pub fn logs(&self) -> String {
        let show = |line: &str| self.gateway.cli(line).unwrap_or_else(|error| error.to_string());
        let counters = ["show crypto session", "show crypto ipsec sa detail", "show tohub dataplane"];
        let shown: String =
            counters.iter().map(|line| format!("──── {line} ────\n{}\n", show(line))).collect();
        format!(
            "──── tohub's log ends ────\n{}\n{shown}──── the stranger's log ends ────\n{}\n",
            tail(&self.gateway.log(), 30),
            tail(&self.stranger.program().log(), 60)
        )
    }
}

/// The router between the two, with one of them behind it. Connections from outside to the IKE
/// ports are forwarded inside.
fn translator(side: Nat, gateway: &Namespace, stranger: &Namespace) -> Result<Namespace> {
    let router = Namespace::new("router")?;
    let (hidden, hidden_interface, open, open_interface, seen_as) = match side {
        Nat::Theirs => (stranger, "eth0", gateway, "outside", THEIRS),
        _ => (gateway, "outside", stranger, "eth0", OURS),
    };
    connect(hidden, hidden_interface, &router, "inner")?;
    connect(open, open_interface, &router, "outer")?;
    router.address("inner", &format!("{ROUTER_INSIDE}/24"))?;
    router.address("outer", &format!("{seen_as}/24"))?;
    router.become_router()?;
    if side == Nat::Theirs {
        stranger.address("eth0", &format!("{HIDDEN}/24"))?;
        stranger.route("default", ROUTER_INSIDE)?;
    } else {
        stranger.address("eth0", &format!("{THEIRS}/24"))?;
    }
    for line in [
        "add table ip nat",
        "add chain ip nat out { type nat hook postrouting priority 100; }",
        "add chain ip nat in { type nat hook prerouting priority -100; }",
        "add rule ip nat out oifname outer masquerade",
    ] {
        router.run("nft", &[line])?;
    }
    router.run(
        "nft",
        &[&format!("add rule ip nat in iifname outer udp dport {{ 500, 4500 }} dnat to {HIDDEN}")],
    )?;
    Ok(router)
}

/// The peer's configuration.
pub fn stranger_configuration(case: &Case) -> Result<String> {
    if let Some((_, theirs)) = &case.verbatim {
        return Ok(theirs.clone());
    }
    let local = if case.nat == Nat::Theirs { HIDDEN } else { THEIRS };
    let remote_id = if case.nat == Nat::Ours { HIDDEN } else { OURS };
    let own = [
        format!("LOCAL={local}"),
        format!("LOCAL_ID={THEIRS}"),
        format!("REMOTE={OURS}"),
        format!("REMOTE_ID={remote_id}"),
        "LOCAL_TS=10.2.0.0/16".to_owned(),
        "REMOTE_TS=192.168.1.0/24".to_owned(),
        format!("PSK={KEY}"),
    ];
    let settings: Vec<&str> = own.iter().chain(&case.settings).map(String::as_str).collect();
    render(case.template, &settings)
}

/// Our configuration.
pub fn our_configuration(case: &Case) -> String {
    let ours = &case.ours;
    let (address, hop) = match case.nat {
        Nat::Ours => (HIDDEN, ROUTER_INSIDE),
        _ => (OURS, THEIRS),
    };
    let interfaces = interfaces(address, hop);
    if let Some((ours, _)) = &case.verbatim {
        return interfaces + ours;
    }
    let permits: String =
        ours.permits.iter().map(|permit| format!("access-list 101 permit {permit}\n")).collect();
    format!(
        "hostname gateway
crypto ike default-version 2
crypto ike give-up 20
crypto logging session
crypto isakmp keepalive {}
{}crypto ipsec transform-set ts {}
{}crypto map tohub 1 ipsec-isakmp
 set peer {THEIRS}
 set transform-set ts
{} match address 101
{interfaces}{permits}",
        ours.keepalive, ours.ike, ours.transform, ours.set, ours.entry
    )
}

/// The lines of our two interfaces; `address` is the outer one, and `hop` is the default next hop.
pub fn interfaces(address: &str, hop: &str) -> String {
    format!(
        "interface GigabitEthernet0/0
 device inside
 ip address 192.168.1.1 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address {address} 255.255.255.0
 crypto map tohub
ip route 0.0.0.0 0.0.0.0 {hop}
"
    )
}

/// The error of a failed case.
pub fn fail<T>(why: &str) -> Result<T> {
    Err(LabError::Unexpected(why.to_owned()))
}
