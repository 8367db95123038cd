//! The traffic: one thread in each namespace sends a packet of each of its flows every millisecond,
//! from before the gateway is started until the laboratory is taken down.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::Result;
use lab::namespace::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

use crate::inside;
use crate::packet::{self, Flow, GATEWAY_PORT, Mark, Phase};

/// The host behind the gateway.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The gateway's inside address.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// A host of the protected network.
pub const PROTECTED: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
/// The source address in the protected network that is forged on the outside wire.
pub const FORGED: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 77);
/// A host on the internet that no permit selects.
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 9);
/// The host behind the gateway, IPv6.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10);
/// A host on the internet, IPv6.
pub const ELSEWHERE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 9);

const INTERVAL: Duration = Duration::from_millis(1);
/// The same between the plays: enough for tunnels to come up.
const UNCOUNTED_INTERVAL: Duration = Duration::from_millis(10);
const SWITCHES: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// State shared by the threads of one laboratory.
#[derive(Debug, Default)]
pub struct Controls {
    stop: AtomicBool,
    /// `play << 8 | phase`, in one word, so that a packet never has the number of one run and the
    /// phase of another.
    now: AtomicU64,
    /// One bit per active flow.
    flows: AtomicU8,
    /// Interval of setting the forwarding sysctls in milliseconds; 0: not set.
    open_forwarding_every: AtomicU32,
    sent: AtomicU64,
}

impl Controls {
    /// Sets the run number and phase of packets sent from now on.
    pub fn set(&self, play: u32, phase: Phase) {
        self.now.store(u64::from(play) << 8 | phase as u64, Ordering::SeqCst);
    }

    /// The current run number and phase.
    pub fn now(&self) -> (u32, Phase) {
        let now = self.now.load(Ordering::SeqCst);
        let play = u32::try_from(now >> 8).unwrap_or(0);
        (play, Phase::from_number(u8::try_from(now & 0xff).unwrap_or(0)))
    }

    /// Sets the flows that are sent.
    pub fn send(&self, flows: &[Flow]) {
        let bits = flows.iter().fold(0, |bits, flow| bits | 1 << *flow as u8);
        self.flows.store(bits, Ordering::SeqCst);
    }

    /// Sets the interval at which the gateway's forwarding sysctls are toggled; 0 for never.
    pub fn open_forwarding_every(&self, milliseconds: u32) {
        self.open_forwarding_every.store(milliseconds, Ordering::SeqCst);
    }

    /// Makes every thread end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether the threads have to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many packets were handed to the kernel since the laboratory was built, outside of
    /// [`Phase::Uncounted`].
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn is_on(&self, flow: Flow) -> bool {
        self.flows.load(Ordering::Relaxed) & 1 << flow as u8 != 0
    }
}

/// The sockets of one sending thread.
#[derive(Debug)]
struct Sockets {
    raw: Socket,
    raw6: Socket,
    /// For packets of the gateway host itself: a connected socket caches its route, raw packets do
    /// not.
    connected: Option<UdpSocket>,
}

impl Sockets {
    fn open() -> io::Result<Self> {
        const IPPROTO_RAW: i32 = 255;
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
        // Non-blocking, because a full send buffer must not delay the sender's clock.
        raw.set_nonblocking(true)?;
        let raw6 = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
        raw6.set_nonblocking(true)?;
        Ok(Self { raw, raw6, connected: None })
    }

    fn send(&mut self, mark: Mark) -> bool {
        let raw = |source, destination| {
            let packet = packet::ipv4(mark, source, destination);
            self.raw.send_to(&packet, &SocketAddr::from((destination, 0)).into()).is_ok()
        };
        match mark.flow {
            Flow::Forwarded => raw(HOST, PROTECTED),
            Flow::Own if mark.sequence.is_multiple_of(2) => self.send_connected(mark),
            Flow::Own => raw(INSIDE, PROTECTED),
            Flow::Inward => raw(FORGED, HOST),
            Flow::InwardOwn => raw(FORGED, INSIDE),
            Flow::Unprotected => raw(HOST, ELSEWHERE),
            Flow::Answered => raw(PROTECTED, HOST),
            Flow::Unprotected6 => {
                let packet = packet::ipv6(mark, HOST6, ELSEWHERE6);
                self.raw6.send_to(&packet, &SocketAddr::from((ELSEWHERE6, 0)).into()).is_ok()
            }
        }
    }

    fn send_connected(&mut self, mark: Mark) -> bool {
        if self.connected.is_none() {
            self.connected = connect().ok();
        }
        let payload = mark.payload();
        let sent = self.connected.as_ref().is_some_and(|socket| socket.send(&payload).is_ok());
        if !sent {
            self.connected = None;
        }
        sent
    }
}

/// A UDP socket bound to the inside address, even if no interface has it.
fn connect() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_freebind_v4(true)?;
    socket.bind(&SocketAddr::from((INSIDE, 7778)).into())?;
    socket.connect(&SocketAddr::from((PROTECTED, GATEWAY_PORT)).into())?;
    Ok(socket.into())
}

/// Starts the thread of one namespace.
pub fn start(
    namespace: &Namespace,
    controls: &Arc<Controls>,
    flows: &'static [Flow],
    is_gateway: bool,
) -> Result<JoinHandle<()>> {
    let controls = Arc::clone(controls);
    inside::spawn(namespace, Sockets::open, move |mut sockets| {
        run(&controls, &mut sockets, flows, is_gateway)
    })
}

fn run(controls: &Controls, sockets: &mut Sockets, flows: &[Flow], is_gateway: bool) {
    let mut next = Instant::now();
    let mut opened = Instant::now();
    let mut sequence = 0_u32;
    while !controls.stopped() {
        let every = controls.open_forwarding_every.load(Ordering::Relaxed);
        if is_gateway && every > 0 && opened.elapsed() >= Duration::from_millis(every.into()) {
            open_forwarding();
            opened = Instant::now();
        }
        let (play, phase) = controls.now();
        for flow in flows.iter().filter(|flow| controls.is_on(**flow)) {
            let Some(sequence) = turn(*flow, sequence) else { continue };
            let sent = sockets.send(Mark { play, flow: *flow, phase, sequence });
            if sent && phase != Phase::Uncounted {
                controls.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        sequence = sequence.wrapping_add(1);
        next += if phase == Phase::Uncounted { UNCOUNTED_INTERVAL } else { INTERVAL };
        let now = Instant::now();
        // After a long stall of the machine the missed packets are not sent as a burst.
        if now > next + 50 * INTERVAL {
            next = now;
        }
        // A phase begins with its first millisecond.
        while Instant::now() < next && controls.now().1 == phase && !controls.stopped() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()).min(INTERVAL));
        }
        next = next.min(Instant::now() + INTERVAL);
    }
}

/// The sequence number of the flow's packet in this millisecond, if it sends one: each source sends
/// a protected packet every millisecond (from outside alternately to the host and to the gateway),
/// and unprotected ones less often.
fn turn(flow: Flow, millisecond: u32) -> Option<u32> {
    let (every, at) = match flow {
        Flow::Inward => (2, 0),
        Flow::InwardOwn => (2, 1),
        Flow::Unprotected | Flow::Unprotected6 => (9, 0),
        Flow::Forwarded | Flow::Own | Flow::Answered => (1, 0),
    };
    (millisecond % every == at).then_some(millisecond / every)
}

/// Writes 1 into the kernel's forwarding switches, in the calling thread's namespace. Only a change
/// of `ip_forward` reaches every interface, hence the 0 before it.
pub fn open_forwarding() {
    for switch in SWITCHES {
        for value in ["0", "1"] {
            let _ = std::fs::write(switch, value);
        }
    }
}

/// Writes 0 into the forwarding switches.
pub fn close_forwarding() {
    for switch in SWITCHES {
        let _ = std::fs::write(switch, "0");
    }
}

/// A thread at the gateway's UDP port: packets that arrive there were accepted. `accepted` is
/// called for each marked datagram.
pub fn listen(
    namespace: &Namespace,
    controls: &Arc<Controls>,
    accepted: impl Fn(Mark) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let controls = Arc::clone(controls);
    let open = || {
        let socket = UdpSocket::bind(("0.0.0.0", GATEWAY_PORT))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    };
    inside::spawn(namespace, open, move |socket| {
        let mut buffer = [0; 2048];
        while !controls.stopped() {
            if let Ok(length) = socket.recv(&mut buffer)
                && let Some(mark) = Mark::find(&buffer[..length])
            {
                accepted(mark);
            }
        }
    })
}

/// A thread at the host's UDP port that answers every datagram of [`Flow::Answered`] with itself,
/// at the port of [`listen`].
pub fn answer(namespace: &Namespace, controls: &Arc<Controls>) -> Result<JoinHandle<()>> {
    let controls = Arc::clone(controls);
    let open = || {
        let socket = UdpSocket::bind(("0.0.0.0", GATEWAY_PORT))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    };
    inside::spawn(namespace, open, move |socket| {
        let mut buffer = [0; 2048];
        while !controls.stopped() {
            if let Ok((length, from)) = socket.recv_from(&mut buffer)
                && Mark::find(&buffer[..length]).is_some_and(|mark| mark.flow == Flow::Answered)
            {
                // The port where `listen` counts behind the peer.
                let _ = socket.send_to(&buffer[..length], (from.ip(), GATEWAY_PORT));
            }
        }
    })
}

/// The gateway's TCP port for [`accept`].
pub const TCP_PORT: u16 = 2222;

/// A thread that accepts TCP connections, as an SSH server of the gateway would.
pub fn accept(namespace: &Namespace, controls: &Arc<Controls>) -> Result<JoinHandle<()>> {
    let controls = Arc::clone(controls);
    let open = || {
        let listener = std::net::TcpListener::bind(("0.0.0.0", TCP_PORT))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    inside::spawn(namespace, open, move |listener| {
        while !controls.stopped() {
            while listener.accept().is_ok() {}
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}
