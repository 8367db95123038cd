//! Packet captures of a wire.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::command::{LabError, Result, wait_for};
use crate::namespace::Namespace;
use crate::pcap::{self, Captured};

/// A running tcpdump on one interface. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    child: Option<Child>,
    file: PathBuf,
    messages: PathBuf,
    _folder: tempfile::TempDir,
}

/// The result of a capture.
#[derive(Debug)]
pub struct Recording {
    /// The frames in order.
    pub packets: Vec<Captured>,
    /// Number of frames lost by the capture. A count of zero clear packets is only valid if this is
    /// 0.
    pub dropped: u64,
}

impl Capture {
    /// Starts capturing whole headers (256 bytes of each frame) and returns when the capture is
    /// running.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        Self::start_with(namespace, interface, 256)
    }

    /// The same with another snapshot length.
    pub fn start_with(namespace: &Namespace, interface: &str, snapshot_length: u32) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("tohub-{}-capture-", std::process::id()))
            .tempdir()
            .map_err(LabError::io("making a folder for a capture"))?;
        let (file, messages) = (folder.path().join("wire.pcap"), folder.path().join("messages"));
        let log = std::fs::File::create(&messages).map_err(LabError::io("making a capture's log"))?;
        let mut command = namespace.command("tcpdump");
        command
            .args([
                "-Z",
                "root",
                "-U",
                "-n",
                "-B",
                "32768",
                "-s",
                &snapshot_length.to_string(),
                "-i",
                interface,
                "-w",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command
            .spawn()
            .map_err(|source| LabError::Start { command: crate::command::describe(&command), source })?;
        let capture = Self { child: Some(child), file, messages, _folder: folder };
        wait_for(&format!("tcpdump on {interface}"), 10, || {
            capture.log().contains("listening on").then_some(())
        })?;
        Ok(capture)
    }

    /// Ends the capture and reads it.
    pub fn finish(mut self) -> Result<Recording> {
        // tcpdump reads its ring at least once a second: frames from before this call are then in
        // the file. Frames during the wait may still be in the ring.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        self.end();
        let log = self.log();
        let dropped = log
            .lines()
            .find_map(|line| line.strip_suffix(" packets dropped by kernel")?.trim().parse().ok())
            .ok_or_else(|| {
                LabError::Unexpected(format!("tcpdump gave no count of dropped packets: {log}"))
            })?;
        Ok(Recording { packets: pcap::read(&self.file)?, dropped })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.messages).unwrap_or_default()
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = child.wait();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

impl Recording {
    /// Frames with clear packets of the protected networks (192.168.0.0/16 as source or
    /// destination).
    pub fn clear_packets(&self) -> usize {
        self.clear().count()
    }

    /// The same as text lines: time, addresses, protocol.
    pub fn describe_clear(&self) -> Vec<String> {
        self.clear().map(describe).collect()
    }

    /// IPv4 packets that are neither ESP nor UDP on IKE's ports: on a wire between two hosts that
    /// protect everything between themselves, no other packet may occur.
    pub fn describe_unprotected(&self) -> Vec<String> {
        self.packets
            .iter()
            .filter(|packet| packet.ipv4().is_some() && !is_ipsec(packet))
            .map(describe)
            .collect()
    }

    fn clear(&self) -> impl Iterator<Item = &Captured> {
        self.packets.iter().filter(|packet| {
            packet.addresses().is_some_and(|(source, destination)| {
                [source, destination].iter().any(|address| address[..2] == [192, 168])
            })
        })
    }

    /// ESP packets, plain (protocol 50).
    pub fn esp_packets(&self) -> usize {
        self.packets.iter().filter(|packet| packet.protocol() == Some(50)).count()
    }

    /// ESP packets in UDP (RFC 3948 §2.1: neither the non-ESP marker nor a keepalive).
    pub fn udp_esp_packets(&self) -> usize {
        self.natt().filter(|payload| payload.len() > 4 && payload[..4] != [0; 4]).count()
    }

    /// NAT keepalives (RFC 3948 §2.3: one octet of ones).
    pub fn nat_keepalives(&self) -> usize {
        self.natt().filter(|payload| payload.first() == Some(&0xff) && payload.len() == 1).count()
    }

    /// IPv4 packets of these protocols, whatever their addresses.
    pub fn of_protocols(&self, protocols: &[u8]) -> usize {
        self.packets
            .iter()
            .filter(|p| p.protocol().is_some_and(|protocol| protocols.contains(&protocol)))
            .count()
    }

    /// Payloads of UDP packets from or to port 4500.
    fn natt(&self) -> impl Iterator<Item = &[u8]> {
        const PORT: [u8; 2] = 4500_u16.to_be_bytes();
        self.packets.iter().filter(|packet| packet.protocol() == Some(17)).filter_map(|packet| {
            let udp = packet.ipv4()?.get(usize::from(packet.ipv4()?[0] & 0x0f) * 4..)?;
            let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
            let natt = udp.get(..2)? == PORT || udp.get(2..4)? == PORT;
            // The capture includes the padding of short frames and truncates long ones.
            natt.then(|| udp.get(8..length.min(udp.len()))).flatten()
        })
    }

    /// The peers to which `from` initiated an IKE SA (IKE_SA_INIT requests, RFC 7296 §3.1), in
    /// order; retransmissions count once.
    pub fn initiations(&self, from: [u8; 4]) -> Vec<std::net::Ipv4Addr> {
        const IKE_SA_INIT: u8 = 34;
        const RESPONSE: u8 = 0x20;
        let mut seen = Vec::new();
        let mut targets = Vec::new();
        for packet in &self.packets {
            let (Some(ip), Some((source, destination))) = (packet.ipv4(), packet.addresses()) else {
                continue;
            };
            let ike = usize::from(ip[0] & 0x0f) * 4 + 8;
            let (Some(header), Some(ports)) = (ip.get(ike..ike + 20), ip.get(ike - 8..ike - 4)) else {
                continue;
            };
            let request = header[18] == IKE_SA_INIT && header[19] & RESPONSE == 0 && header[8..16] == [0; 8];
            if packet.protocol() == Some(17)
                && ports[2..] == 500_u16.to_be_bytes()
                && source == from
                && request
            {
                let spi = header[..8].to_vec();
                if !seen.contains(&spi) {
                    seen.push(spi);
                    targets.push(destination.into());
                }
            }
        }
        targets
    }
}

fn describe(packet: &Captured) -> String {
    let [source, destination] = packet.addresses().map_or([[0; 4]; 2], |(from, to)| [from, to]);
    format!(
        "{:.3} {} -> {} protocol {}",
        packet.time,
        std::net::Ipv4Addr::from(source),
        std::net::Ipv4Addr::from(destination),
        packet.protocol().unwrap_or(0)
    )
}

fn is_ipsec(packet: &Captured) -> bool {
    const IKE: [[u8; 2]; 2] = [500_u16.to_be_bytes(), 4500_u16.to_be_bytes()];
    let Some(ip) = packet.ipv4() else { return false };
    let behind = usize::from(ip[0] & 0x0f) * 4;
    match packet.protocol() {
        Some(50) => true,
        Some(17) => ip
            .get(behind..behind + 4)
            .is_some_and(|ports| ports.chunks(2).any(|port| IKE.iter().any(|ike| port == ike))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(protocol: u8, ports: [u16; 2]) -> Captured {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45]);
        frame.extend([0; 8]);
        frame.push(protocol);
        frame.extend([0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        Captured { time: 0.0, frame }
    }

    #[test]
    fn what_is_neither_esp_nor_ike_is_unprotected() {
        let recording = |packets: Vec<Captured>| Recording { packets, dropped: 0 };
        let fine = recording(vec![frame(50, [0, 0]), frame(17, [500, 500]), frame(17, [4500, 1024])]);
        assert_eq!(fine.describe_unprotected(), Vec::<String>::new());
        let bad = recording(vec![
            frame(50, [0, 0]),
            frame(1, [500, 500]),
            frame(6, [4500, 1]),
            frame(17, [53, 501]),
        ]);
        let protocols = ["protocol 1", "protocol 6", "protocol 17"];
        let seen = bad.describe_unprotected();
        assert_eq!(seen.len(), 3, "{seen:?}");
        for (line, protocol) in seen.iter().zip(protocols) {
            assert!(line.ends_with(&format!("192.0.2.1 -> 192.0.2.2 {protocol}")), "{line}");
        }
    }
}
