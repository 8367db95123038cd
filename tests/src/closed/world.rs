//! The network of one laboratory, with the traffic and the captures in it.
//!
//! ```text
//! host ── inside [gateway] outside ── branch [internet] hub ── outside [peer] inside ── [peer-host]
//! 192.168.1.10             second  ── second                                            10.2.0.10
//! ```

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::Result;
use lab::command::{LabError, settle};
use lab::gateway::Gateway;
use lab::namespace::{Namespace, connect};

use crate::packet::{Flow, Mark, Phase};
use crate::setup::{Peer, Setup};
use crate::traffic::{self, Controls};
use crate::wire::{Capture, Seen, Sighting, Sightings};

mod batch;
mod device;
mod watch;

pub use batch::{batch, forced_batch};
pub use device::Device;
use watch::{watch_host, watch_internet, watch_tun};

/// Speed-up of the control planes' timers.
const TIME_SCALE: u32 = 10;
/// How long the control phase lasts.
const CONTROL: Duration = Duration::from_millis(60);

/// A TUN device has a carrier only while a process has it open (TUNSETIFF with IFF_TUN and
/// IFF_NO_PI).
const MAKE_TUN: &str = r#"
setsid perl -e 'open(my $tun, "+<", "/dev/net/tun") or die; my $request = pack("a16sx22", "tun7", 0x1001); ioctl($tun, 0x400454ca, $request) or die; sleep 3600' \
    </dev/null >/dev/null 2>&1 &
for attempt in 1 2 3 4 5 6 7 8 9 10; do ip link show tun7 >/dev/null 2>&1 && exit 0; sleep 0.1; done
exit 1"#;

/// One laboratory.
#[derive(Debug)]
pub struct World {
    /// Its setup.
    pub setup: Setup,
    /// State shared by the threads.
    pub controls: Arc<Controls>,
    /// Sightings.
    pub seen: Arc<Seen>,
    /// Datagrams of the host that arrived behind the peer or were answered there.
    pub carried: Arc<AtomicU64>,
    /// Whether the gateway runs and its state is as at its first readiness.
    pub settled: bool,
    /// Whether the world is unusable for another run.
    pub broken: bool,
    /// The last event.
    pub last_event: Option<String>,
    at_first: String,
    captures: Vec<Capture>,
    threads: Vec<JoinHandle<()>>,
    // Gateways before wires: fields drop in order, so gateways are released first.
    peer: Option<Gateway>,
    /// The gateway under test.
    pub gateway: Gateway,
    /// The host behind it.
    pub host: Namespace,
    /// The namespace of everything outside.
    pub internet: Namespace,
    /// An empty namespace to which devices can be moved temporarily.
    pub elsewhere: Namespace,
    peer_host: Option<Namespace>,
}

impl World {
    /// Builds the network and starts traffic and captures; checks that each protected flow is seen
    /// in clear while there is no gateway.
    pub fn build(setup: Setup) -> Result<Self> {
        let [host, gateway, internet, elsewhere] =
            ["host", "gateway", "internet", "elsewhere"].map(Namespace::new);
        let (host, gateway, internet, elsewhere) = (host?, gateway?, internet?, elsewhere?);
        internet.become_router()?;
        let gateway = Gateway::prepare(gateway, &setup.configuration(), TIME_SCALE)?;
        let mut world = Self {
            setup,
            controls: Arc::default(),
            seen: Arc::default(),
            carried: Arc::default(),
            settled: false,
            broken: false,
            last_event: None,
            at_first: String::new(),
            captures: Vec::new(),
            threads: Vec::new(),
            peer: None,
            gateway,
            host,
            internet,
            elsewhere,
            peer_host: None,
        };
        world.lay_out()?;
        world.start_threads()?;
        world.expect_leaks_without_gateway()?;
        world.start_peer()?;
        Ok(world)
    }

    fn lay_out(&mut self) -> Result<()> {
        let address = |address: &str| format!("address add {address} dev lo nodad");
        let mut lines = vec![address("10.2.0.77/32"), address("198.18.0.9/32"), address("fd00:9::9/128")];
        lines.push("route add blackhole 10.2.0.0/16".to_owned());
        lines.push("route add blackhole 203.0.113.0/24 metric 4000".to_owned());
        batch(&self.internet, &lines)?;
        self.plug_in(&Device::ALL)?;
        for device in Device::ALL {
            batch(self.gateway.namespace(), &device.address_lines())?;
        }
        self.extra_device()?;
        batch(self.gateway.namespace(), &self.route_lines())
    }

    /// Another wire to the internet: `spare` in the gateway, `spare-far` with the addresses that
    /// the events route to.
    pub fn plug_in_spare(&self) -> Result<()> {
        let made = format!(
            "link add name spare type veth peer name spare-far address 02:00:00:00:00:66 netns {}",
            self.internet.name()
        );
        batch(self.gateway.namespace(), &[made])?;
        let far = ["address add 198.51.100.66/26 dev spare-far", "link set spare-far up"];
        batch(&self.internet, &far.map(str::to_owned))?;
        let near = ["link set spare up"];
        batch(self.gateway.namespace(), &near.map(str::to_owned))
    }

    /// Brings the far end of a wire up again.
    pub fn far_end_up(&self, device: Device) -> Result<()> {
        batch(self.far_namespace(device), &device.far_lines())
    }

    /// Removes all wires of the gateway, and creates these.
    pub fn wire_anew(&self, devices: &[Device]) -> Result<()> {
        let gateway = self.gateway.namespace();
        let mut existing: Vec<&str> = Device::ALL.iter().map(|device| device.name()).collect();
        existing.extend(["tun7", "bridge7", "spare", "renamed", "other"]);
        let removed: Vec<String> = existing.iter().map(|name| format!("link delete {name}")).collect();
        forced_batch(gateway, &removed)?;
        forced_batch(&self.elsewhere, &removed)?;
        self.plug_in(devices)?;
        for device in devices {
            batch(gateway, &device.address_lines())?;
        }
        if devices.contains(&Device::Outside) {
            self.extra_device()?;
            batch(gateway, &self.route_lines())?;
        }
        Ok(())
    }

    /// Creates wires of the gateway; its ends are down and without addresses.
    pub fn plug_in(&self, devices: &[Device]) -> Result<()> {
        for device in devices {
            let (name, far_end, hardware) = (device.name(), device.far_end(), device.hardware_address());
            let far = self.far_namespace(*device);
            let made = format!(
                "link add name {name} address {hardware} type veth peer name {far_end} netns {}",
                far.name()
            );
            batch(self.gateway.namespace(), &[made])?;
            batch(far, &device.far_lines())?;
            if *device == Device::Inside {
                self.host.end_host_offloads(far_end)?;
            }
        }
        Ok(())
    }

    /// The namespace at the far end of a wire.
    pub fn far_namespace(&self, device: Device) -> &Namespace {
        if device == Device::Inside { &self.host } else { &self.internet }
    }

    /// The device of setups whose map is not on the wire itself; it takes the wire's addresses
    /// over.
    pub fn extra_device(&self) -> Result<()> {
        let gateway = self.gateway.namespace();
        let device = match self.setup {
            Setup::MapOnTun => {
                gateway.run("sh", &["-c", MAKE_TUN])?;
                "tun7"
            }
            Setup::MapOnBridge => {
                let made = [
                    "link add bridge7 address 02:00:00:00:00:07 type bridge",
                    "link set outside master bridge7",
                ];
                batch(gateway, &made.map(str::to_owned))?;
                "bridge7"
            }
            _ => return Ok(()),
        };
        let mut lines: Vec<String> = Vec::new();
        for address in Device::Outside.addresses() {
            lines.push(format!("address delete {address} dev outside"));
            lines.push(format!("address replace {address} dev {device} nodad"));
        }
        lines.push(format!("address replace fe80::1/64 dev {device} nodad"));
        lines.push(format!("link set {device} up"));
        batch(gateway, &lines)
    }

    /// The gateway's routes as lines of `ip -batch`.
    pub fn route_lines(&self) -> Vec<String> {
        let mut lines = vec![
            "route replace default via 192.0.2.2".to_owned(),
            "route replace 10.2.0.0/16 via 192.0.2.2".to_owned(),
            "route replace default via fd00:c::2".to_owned(),
        ];
        if self.setup.has_second_route() {
            lines.push("route replace default via 198.51.100.2 metric 200".to_owned());
        }
        lines
    }

    fn start_threads(&mut self) -> Result<()> {
        let (controls, seen) = (&self.controls, &self.seen);
        self.captures.push(Capture::start(&self.internet, controls, seen, watch_internet, "internet")?);
        self.captures.push(Capture::start(&self.host, controls, seen, watch_host, "host")?);
        let (accepted, at_gateway) = (Arc::clone(seen), self.gateway.namespace());
        if self.setup == Setup::MapOnTun {
            self.captures.push(Capture::start(at_gateway, controls, seen, watch_tun, "gateway")?);
        }
        self.threads.push(traffic::listen(at_gateway, controls, move |mark| {
            if mark.flow == Flow::InwardOwn {
                accepted.add(accepted_by_gateway(mark));
            }
        })?);
        self.threads.push(traffic::answer(&self.host, controls)?);
        self.threads.push(traffic::accept(at_gateway, controls)?);
        let flows: [(&Namespace, &'static [Flow], bool); 3] = [
            (&self.host, &[Flow::Forwarded, Flow::Unprotected, Flow::Unprotected6], false),
            (at_gateway, &[Flow::Own], true),
            (&self.internet, &[Flow::Inward, Flow::InwardOwn], false),
        ];
        for (namespace, flows, is_gateway) in flows {
            self.threads.push(traffic::start(namespace, controls, flows, is_gateway)?);
        }
        Ok(())
    }

    /// Checks that the laboratory detects leaks: without a gateway each flow passes in clear.
    fn expect_leaks_without_gateway(&mut self) -> Result<()> {
        const FLOWS: [Flow; 6] = [
            Flow::Forwarded,
            Flow::Own,
            Flow::Inward,
            Flow::InwardOwn,
            Flow::Unprotected,
            Flow::Unprotected6,
        ];
        let gateway = self.gateway.namespace();
        crate::inside::call(gateway, || {
            traffic::open_forwarding();
            Ok(())
        })?;
        self.controls.send(&FLOWS);
        self.controls.set(0, Phase::Control);
        let mut missing: Vec<&str> = Vec::new();
        // The first packets may wait for ARP and neighbour discovery.
        settle(5, || {
            std::thread::sleep(CONTROL);
            let seen = self.sightings(0).unwrap_or_default();
            missing = FLOWS
                .iter()
                .filter(|flow| !seen.keys().any(|sighting| sighting.flow == Some(**flow)))
                .map(|flow| flow.name())
                .collect();
            missing.is_empty()
        });
        self.controls.set(0, Phase::Uncounted);
        if missing.is_empty() {
            return Ok(());
        }
        Err(LabError::Unexpected(format!(
            "without a gateway nothing was seen of: {} (the laboratory would see no leak either)",
            missing.join(", ")
        )))
    }

    fn start_peer(&mut self) -> Result<()> {
        if self.setup.peer() == Peer::Absent {
            return Ok(());
        }
        let (namespace, behind) = (Namespace::new("peer")?, Namespace::new("peer-host")?);
        connect(&self.internet, "hub", &namespace, "outside")?;
        connect(&namespace, "inside", &behind, "eth0")?;
        self.internet.address("hub", "203.0.113.1/24")?;
        behind.address("eth0", "10.2.0.10/16")?;
        behind.end_host_offloads("eth0")?;
        behind.route("default", "10.2.0.1")?;
        let carried = Arc::clone(&self.carried);
        self.threads.push(traffic::listen(&behind, &self.controls, move |_| {
            carried.fetch_add(1, Ordering::SeqCst);
        })?);
        self.threads.push(traffic::start(&behind, &self.controls, &[Flow::Answered], false)?);
        self.peer_host = Some(behind);
        self.peer = Some(Gateway::start(namespace, &self.setup.peer_configuration(), TIME_SCALE)?);
        Ok(())
    }

    /// The sightings of a run, after all frames up to now were processed.
    pub fn sightings(&mut self, play: u32) -> Result<Sightings> {
        for capture in &mut self.captures {
            capture.catch_up()?;
        }
        Ok(self.seen.take(play))
    }

    /// `tohub` in the gateway's namespace with its run directory, optionally under a wrapper such
    /// as `prlimit`.
    pub fn tohub(&self, wrapper: &[String], arguments: &[&str]) -> Result<Command> {
        let tohub = lab::gateway::program("tohub")?;
        let mut words: Vec<String> = wrapper.to_vec();
        words.push(tohub.to_string_lossy().into_owned());
        words.extend(["--run-dir".to_owned(), self.gateway.run_dir().to_string_lossy().into_owned()]);
        let mut command = self.gateway.namespace().command(&words[0]);
        command.args(&words[1..]).args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Records addresses, routes and configuration of the running gateway.
    pub fn remember(&mut self) {
        self.at_first = self.state();
    }

    /// Whether they are unchanged, now or within a second.
    pub fn is_as_at_first(&self) -> bool {
        !self.at_first.is_empty() && settle(1, || self.state() == self.at_first && self.gateway.is_ready())
    }

    fn state(&self) -> String {
        let namespace = self.gateway.namespace();
        let addresses = namespace.ip(&["-br", "address"]).unwrap_or_default();
        // A device created again has another index, and so has its other end.
        let addresses: Vec<String> = addresses
            .lines()
            .map(|line| {
                let mut words: Vec<&str> = line.split_whitespace().collect();
                if let Some(first) = words.first_mut() {
                    *first = first.split('@').next().unwrap_or_default();
                }
                words.join(" ")
            })
            .collect();
        let mut routes: Vec<String> =
            namespace.ip(&["route"]).unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect();
        routes.sort();
        let configuration = self.gateway.cli("show running-config").unwrap_or_default();
        format!("{addresses:?}\n{routes:?}\n{configuration}")
    }

    /// Ends everything that runs in the gateway's namespace, and restores its configuration file.
    pub fn cool(&mut self) -> Result<()> {
        self.gateway.stop();
        self.gateway.namespace().end_processes();
        std::fs::create_dir_all(self.gateway.run_dir()).map_err(LabError::io("making a run directory"))?;
        self.gateway.write_configuration(&self.setup.configuration())
    }

    /// Detaches the programs of the gateway.
    pub fn release(&mut self) -> Result<()> {
        self.gateway.release().map(drop)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.controls.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for capture in &mut self.captures {
            capture.join();
        }
    }
}

fn accepted_by_gateway(mark: Mark) -> Sighting {
    Sighting {
        play: mark.play,
        phase: mark.phase,
        flow: Some(mark.flow),
        place: "gateway".to_owned(),
        what: "accepted by a socket".to_owned(),
    }
}
