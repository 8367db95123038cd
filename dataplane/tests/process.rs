//! The whole process in a network namespace: the packets that leave while it runs, after it was
//! killed and after it was stopped; its start failures and their exit codes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use common::{Lab, eventually, inside, is_root};
use dataplane::process::release::release;
use sa_table::{Capacities, Locking, PortRecord, Role, Rule, Segments, TableWriter};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tohub-dataplane");

/// A data plane of a gateway, its segments, and the control plane's writer of them.
struct Plane<'a> {
    lab: &'a Lab,
    segments: Segments,
    table: TableWriter,
    run_dir: tempfile::TempDir,
    child: Option<Child>,
}

impl<'a> Plane<'a> {
    fn new(lab: &'a Lab) -> Self {
        let segments = Segments::create(Capacities::default(), Locking::BestEffort).unwrap();
        let table = segments.table_writer().unwrap();
        let run_dir = tempfile::Builder::new().prefix("tohub-plane-").tempdir().unwrap();
        Self { lab, segments, table, run_dir, child: None }
    }

    fn publish(&mut self, ports: &[PortRecord], rules: &[Vec<Rule>]) {
        let version = self.table.publish_policy(ports, rules).unwrap();
        assert!(version.0 > 0);
    }

    fn command(&self) -> Command {
        let mut command = self.lab.gateway.command(PROGRAM);
        command.arg("--run-dir").arg(self.run_dir.path()).args(["--frames", "8192", "--log", "warn"]);
        command
    }

    fn start(&mut self) {
        self.child = Some(self.segments.spawn(Role::DataPlane, &mut self.command(), &[]).unwrap());
    }

    /// Starts it and waits until it applied this many policies.
    fn start_ready(&mut self) {
        self.start();
        self.wait_ready();
    }

    fn wait_ready(&self) {
        let version = self.table.policy_version().0;
        eventually("the policy to be applied", || {
            self.status().is_some_and(|status| status["policy_version"] == version)
        });
    }

    fn status(&self) -> Option<Value> {
        let mut stream = UnixStream::connect(self.run_dir.path().join("dataplane.sock")).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    fn release(&self) -> dataplane::process::release::Released {
        inside(&self.lab.gateway, || release(self.run_dir.path(), None).unwrap())
    }
}

impl Drop for Plane<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = inside(&self.lab.gateway, || release(self.run_dir.path(), None));
    }
}

#[test]
fn nothing_leaves_in_clear_whether_it_lives_was_killed_or_was_stopped() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plane = Plane::new(&lab);
    let (ports, rules) = lab.policy();
    plane.publish(&ports, &rules);
    let silent = |when: &str| {
        assert_eq!(lab.arriving(&lab.inside, 10), 0, "forwarded, {when}");
        assert_eq!(lab.arriving(&lab.gateway, 10), 0, "from the host, {when}");
        assert_eq!(lab.delivered(&lab.inside, "192.0.2.2:9999", 5), 5, "unprotected, {when}");
    };
    assert_eq!(lab.arriving(&lab.inside, 5), 5, "before the first start");
    plane.start_ready();
    silent("alive, without SA");
    let status = plane.status().unwrap();
    assert!(
        status["punt"]["from_host"].as_u64().unwrap() >= 10,
        "the host's packets went to the punt port: {status}"
    );
    assert!(status["workers"][0]["counters"]["received"].as_u64().unwrap() >= 10, "{status}");
    plane.kill();
    silent("killed");
    plane.start_ready();
    silent("started again");
    assert!(plane.terminate().success());
    assert!(!plane.run_dir.path().join("dataplane.sock").exists());
    silent("stopped");
    let released = plane.release();
    assert_eq!(released.links, 6, "an ingress program and both programs of the guard on each of two ports");
    assert_eq!(
        lab.gateway.ip(&["rule", "show"]).unwrap().lines().count(),
        3,
        "only the kernel's own rules are left"
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lab.arriving(&lab.inside, 5), 5, "released");
    assert_eq!(lab.arriving(&lab.gateway, 5), 5, "released, from the host");
}

#[test]
fn the_status_names_mode_ports_programs_and_pins() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plane = Plane::new(&lab);
    let (ports, rules) = lab.policy();
    plane.publish(&ports, &rules);
    plane.start_ready();
    let status = plane.status().unwrap();
    assert_eq!(status["mode"], "copy");
    assert!(status["copy_reason"].as_str().unwrap().contains("cannot do zero-copy"), "{status}");
    assert_eq!(status["ports"][1]["device"], "out0");
    assert_eq!(
        (&status["ports"][1]["xdp"], &status["ports"][1]["guarded"]),
        (&"native".into(), &true.into())
    );
    assert_eq!(status["ports"][0]["guarded"], true);
    assert!(Path::new(status["pins"].as_str().unwrap()).join("XSKS").exists());
    assert_eq!(status["sockets"].as_array().unwrap().len(), 2);
    assert!(status["aead"].is_string() && status["programs"]["ingress-pass"].is_u64(), "{status}");
}

#[test]
fn ports_come_and_go_with_the_configuration_and_with_their_devices() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plane = Plane::new(&lab);
    let (ports, rules) = lab.policy();
    plane.publish(&ports[1..], &rules);
    plane.start_ready();
    let devices = |plane: &Plane<'_>| -> Vec<String> {
        let status = plane.status().unwrap();
        status["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["device"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(devices(&plane), ["out0"]);
    plane.publish(&ports, &rules);
    plane.wait_ready();
    assert_eq!(devices(&plane), ["in0", "out0"]);
    lab.gateway.ip(&["link", "delete", "in0"]).unwrap();
    eventually("the missing device to be noticed", || devices(&plane) == ["out0"]);
    lab.gateway.ip(&["link", "add", "in0", "type", "veth", "peer", "name", "in1"]).unwrap();
    lab.gateway.up("in0").unwrap();
    eventually("the new device to be taken", || devices(&plane) == ["in0", "out0"]);
    let forwarding = lab.gateway.run("cat", &["/proc/sys/net/ipv4/conf/in0/forwarding"]).unwrap();
    assert_eq!(forwarding.trim(), "1", "guarded, so it may forward");
    let fresh = lab.gateway.run("cat", &["/proc/sys/net/ipv4/conf/in1/forwarding"]).unwrap();
    assert_eq!(fresh.trim(), "0", "a device that appeared later and is no port does not");
}

#[test]
fn refusals_have_a_message_and_a_code_of_their_own() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plane = Plane::new(&lab);
    let refused = |plane: &Plane<'_>, command: &mut Command| -> (i32, String) {
        command.stderr(Stdio::piped());
        let mut child = plane.segments.spawn(Role::DataPlane, command, &[]).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{command:?} is not refused");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let alone = lab.gateway.command(PROGRAM).output().unwrap();
    assert_eq!(alone.status.code(), Some(2), "no descriptors");
    assert!(String::from_utf8_lossy(&alone.stderr).contains("tohub supervise"));

    let (code, message) = refused(&plane, plane.command().args(["--cores", "4095"]));
    assert_eq!(code, 2, "{message}");
    let (code, message) = refused(&plane, plane.command().args(["--aead", "rot13"]));
    assert_eq!(code, 2, "{message}");

    let (mut ports, rules) = lab.policy();
    let mapped = ports.iter().position(|port| port.has_crypto_map).unwrap();
    let device = std::mem::replace(&mut ports[mapped].device, "absent0".to_owned());
    plane.publish(&ports, &rules);
    let (code, message) = refused(&plane, &mut plane.command());
    assert_eq!(code, 6, "{message}");
    assert!(message.contains("absent0") && message.contains(&ports[mapped].ios_name), "{message}");

    ports[mapped].device = device;
    plane.publish(&ports, &rules);
    let mut nobody = lab.gateway.command("setpriv");
    nobody.args(["--reuid", "65534", "--clear-groups", PROGRAM, "--run-dir"]).arg(plane.run_dir.path());
    let (code, message) = refused(&plane, &mut nobody);
    assert_eq!(code, 4, "{message}");

    // The failure occurs only on a machine without reserved huge pages.
    if huge_pages_reserved() == 0 {
        let (code, message) = refused(&plane, plane.command().arg("--huge-pages"));
        assert_eq!(code, 7, "{message}");
    }

    plane.start_ready();
    let (code, message) = refused(&plane, &mut plane.command());
    assert_eq!(code, 9, "{message}");
    assert!(message.contains("another data plane"), "{message}");
    assert!(plane.status().is_some(), "the first one goes on");
}

fn huge_pages_reserved() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[test]
fn permit_any_any_keeps_ike_and_the_neighbours_alive() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plane = Plane::new(&lab);
    let (ports, mut rules) = lab.policy();
    let everything = sa_table::Prefix { address: "0.0.0.0".parse().unwrap(), length: 0 };
    for rule in &mut rules[0] {
        (rule.source, rule.destination) = (everything, everything);
    }
    plane.publish(&ports, &rules);
    plane.start_ready();
    let ask = |from: &str| {
        let receiver = inside(&lab.outside, || std::net::UdpSocket::bind("192.0.2.2:500").unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        inside(&lab.gateway, || {
            let socket = std::net::UdpSocket::bind(from).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let _ = socket.send_to(&[1; 3000], "192.0.2.2:500");
            let (_, peer) = receiver.recv_from(&mut [0; 4096]).ok()?;
            receiver.send_to(&[2; 3000], peer).unwrap();
            socket.recv(&mut [0; 4096]).ok()
        })
    };
    // The first packet also needs a neighbour, so ARP passed both programs.
    lab.gateway.ip(&["neigh", "flush", "all"]).unwrap();
    assert_eq!(ask("192.0.2.1:500"), Some(3000), "IKE, fragmented in both directions");
    assert_eq!(ask("192.0.2.1:4501"), None, "other traffic of this host to the same place");
}
