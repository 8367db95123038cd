//! Captures on the wires: a packet socket receives every frame of every device of a namespace, also
//! of devices created while it runs. It captures at the far ends, because AF_XDP frames are not
//! visible on a gateway's own ports.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::Result;
use lab::command::{LabError, settle};
use lab::namespace::Namespace;
use nix::sys::socket::{self, ControlMessageOwned, LinkAddr, MsgFlags, SockProtocol, SockType};

use crate::inside;
use crate::packet::{Flow, Mark, Phase};
use crate::traffic::Controls;

/// Buffer for frames that wait for the reader.
const RECEIVE_BUFFER: usize = 64 << 20;
const OUTGOING: u8 = 4;
const SENTINEL: [u8; 8] = *b"tohubend";
/// Pause of a reader that has read everything: a wake-up for each frame would cost more CPU time
/// than the frames.
const PAUSE: Duration = Duration::from_millis(5);

/// A packet that was seen where it must not be (or, in [`Phase::Control`], where it must).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sighting {
    /// The run that sent it.
    pub play: u32,
    /// Its phase.
    pub phase: Phase,
    /// The flow; none for a packet without a mark between protected addresses.
    pub flow: Option<Flow>,
    /// The wire, or the acceptor.
    pub place: String,
    /// Addresses and protocol.
    pub what: String,
}

/// How often each was seen.
pub type Sightings = BTreeMap<Sighting, u64>;

/// The results of the captures of one laboratory.
#[derive(Debug, Default)]
pub struct Seen {
    sightings: Mutex<Sightings>,
    missed: AtomicU64,
}

impl Seen {
    /// Adds one.
    pub fn add(&self, sighting: Sighting) {
        *self.lock().entry(sighting).or_default() += 1;
    }

    /// Takes the sightings of this run.
    pub fn take(&self, play: u32) -> Sightings {
        let mut all = self.lock();
        let of_play: Sightings = all
            .iter()
            .filter(|(seen, _)| seen.play == play)
            .map(|(seen, count)| (seen.clone(), *count))
            .collect();
        all.retain(|seen, _| seen.play > play);
        of_play
    }

    /// Whether a packet of this run and flow was seen.
    pub fn has(&self, play: u32, flow: Flow) -> bool {
        self.lock().keys().any(|seen| seen.play == play && seen.flow == Some(flow))
    }

    /// Frames that did not fit into a capture's buffer. A count of zero clear packets is only valid
    /// if this is 0.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sightings> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame captured on a device of the namespace.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The whole frame.
    pub bytes: &'a [u8],
    /// Whether the namespace sent it.
    pub outgoing: bool,
    /// The device.
    pub device: &'a str,
}

/// Why a frame is worth a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It has this mark.
    Marked(Mark),
    /// It has none, and both addresses are protected.
    Unmarked,
}

/// A running capture of a namespace.
#[derive(Debug)]
pub struct Capture {
    thread: Option<JoinHandle<()>>,
    /// Sends sentinel frames, which show the progress of the capture.
    sentinel: UdpSocket,
    sent: u64,
    passed: Arc<AtomicU64>,
}

impl Capture {
    /// Starts the capture.
    pub fn start(
        namespace: &Namespace,
        controls: &Arc<Controls>,
        seen: &Arc<Seen>,
        watch: fn(&Frame<'_>) -> Option<Finding>,
        name: &'static str,
    ) -> Result<Self> {
        let passed = Arc::new(AtomicU64::new(0));
        let (controls, seen, progress) = (Arc::clone(controls), Arc::clone(seen), Arc::clone(&passed));
        let thread = inside::spawn(namespace, open, move |socket| {
            let mut reader =
                Reader { socket, controls, seen, progress, missed: 0, name, devices: BTreeMap::new() };
            reader.run(watch);
        })?;
        let sentinel = inside::call(namespace, || UdpSocket::bind("127.0.0.1:0"))?;
        Ok(Self { thread: Some(thread), sentinel, sent: 0, passed })
    }

    /// Returns when all frames up to now were processed.
    pub fn catch_up(&mut self) -> Result<()> {
        self.sent += 1;
        let mut datagram = SENTINEL.to_vec();
        datagram.extend(self.sent.to_be_bytes());
        self.sentinel.send_to(&datagram, "127.0.0.1:9").map_err(LabError::io("sending a sentinel"))?;
        let wanted = self.sent;
        if settle(10, || self.passed.load(Ordering::SeqCst) >= wanted) {
            return Ok(());
        }
        Err(LabError::Timeout { what: "a capture to catch up".to_owned(), seconds: 10 })
    }

    /// Waits for the end of its thread; call [`Controls::stop`] first.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket::socket(
        socket::AddressFamily::Packet,
        SockType::Raw,
        socket::SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    socket::setsockopt(&socket, socket::sockopt::RxqOvfl, &1)?;
    Ok(socket)
}

struct Reader {
    socket: OwnedFd,
    controls: Arc<Controls>,
    seen: Arc<Seen>,
    progress: Arc<AtomicU64>,
    missed: u32,
    name: &'static str,
    devices: BTreeMap<usize, String>,
}

impl Reader {
    fn run(&mut self, watch: fn(&Frame<'_>) -> Option<Finding>) {
        let mut buffer = vec![0; 1 << 16];
        let mut control = nix::cmsg_space!(u32);
        while !self.controls.stopped() {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = socket::recvmsg::<LinkAddr>(
                self.socket.as_fd().as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            );
            let Ok(message) = received else {
                std::thread::sleep(PAUSE);
                continue;
            };
            for note in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::RxqOvfl(missed) = note {
                    let more = missed.wrapping_sub(std::mem::replace(&mut self.missed, missed));
                    self.seen.missed.fetch_add(more.into(), Ordering::SeqCst);
                }
            }
            let (length, from) = (message.bytes, message.address);
            let Some(from) = from else { continue };
            let bytes = &buffer[..length];
            if let Some(number) = sentinel(bytes) {
                self.progress.fetch_max(number, Ordering::SeqCst);
                continue;
            }
            let device = self.devices.entry(from.ifindex()).or_insert_with(|| device_name(from.ifindex()));
            let frame = Frame { bytes, outgoing: from.pkttype() == OUTGOING, device };
            let Some(finding) = watch(&frame) else { continue };
            let (play, phase, flow) = match finding {
                Finding::Marked(mark) => (mark.play, mark.phase, Some(mark.flow)),
                Finding::Unmarked => {
                    let (play, phase) = self.controls.now();
                    (play, phase, None)
                }
            };
            let (place, what) = (format!("{}/{device}", self.name), describe(bytes));
            self.seen.add(Sighting { play, phase, flow, place, what });
        }
    }
}

fn device_name(index: usize) -> String {
    let name =
        u32::try_from(index).map_err(|_| nix::errno::Errno::ENODEV).and_then(nix::net::if_::if_indextoname);
    name.map_or_else(|_| format!("device {index}"), |name| name.to_string_lossy().into_owned())
}

fn sentinel(frame: &[u8]) -> Option<u64> {
    let at = frame.len().checked_sub(SENTINEL.len() + 8)?;
    let (word, number) = frame[at..].split_at(SENTINEL.len());
    (word == SENTINEL).then(|| number.try_into().ok().map(u64::from_be_bytes)).flatten()
}

/// The IPv4 addresses and protocol of an Ethernet frame.
pub fn ipv4(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u8)> {
    let packet = frame.get(14..34)?;
    if frame.get(12..14)? != [0x08, 0x00] {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    Some((address(12), address(16), packet[9]))
}

/// A frame as text.
pub fn describe(frame: &[u8]) -> String {
    match ipv4(frame) {
        Some((source, destination, protocol)) => format!("{source} > {destination} protocol {protocol}"),
        None => format!("ethertype {:02x?}", frame.get(12..14).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_is_known_by_its_end() {
        let mut frame = vec![0; 42];
        frame.extend(SENTINEL);
        frame.extend(7_u64.to_be_bytes());
        assert_eq!(sentinel(&frame), Some(7));
        assert_eq!(sentinel(&frame[..frame.len() - 1]), None);
        assert_eq!(sentinel(b"short"), None);
    }

    #[test]
    fn a_play_takes_its_own_sightings_and_drops_older_ones() {
        let seen = Seen::default();
        let sighting = |play| Sighting {
            play,
            phase: Phase::Strict,
            flow: Some(Flow::Own),
            place: "internet/branch".to_owned(),
            what: String::new(),
        };
        for play in [1, 2, 2, 3] {
            seen.add(sighting(play));
        }
        assert_eq!(seen.take(2), Sightings::from([(sighting(2), 2)]));
        assert_eq!(seen.take(1), Sightings::new());
        assert_eq!(seen.take(3), Sightings::from([(sighting(3), 1)]));
    }
}
