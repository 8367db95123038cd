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
/// The address of the protected network that the outside wire forges.
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

/// What the threads of one laboratory share.
#[derive(Debug, Default)]
pub struct Controls {
    stop: AtomicBool,
    /// `play << 8 | phase`, so that a packet never bears the number of one play and the phase of
    /// another.
    now: AtomicU64,
    /// Bit for each flow that is on.
    flows: AtomicU8,
    /// Milliseconds between two openings of the forwarding switches; 0: they are left alone.
    open_forwarding_every: AtomicU32,
    sent: AtomicU64,
}

impl Controls {
    /// Packets sent from now on belong to that play and count like that.
    pub fn set(&self, play: u32, phase: Phase) {
        self.now.store(u64::from(play) << 8 | phase as u64, Ordering::SeqCst);
    }

    /// The play and phase of packets that are sent now.
    pub fn now(&self) -> (u32, Phase) {
        let now = self.now.load(Ordering::SeqCst);
        let play = u32::try_from(now >> 8).unwrap_or(0);
        (play, Phase::from_number(u8::try_from(now & 0xff).unwrap_or(0)))
    }

    /// Which flows are sent.
    pub fn send(&self, flows: &[Flow]) {
        let bits = flows.iter().fold(0, |bits, flow| bits | 1 << *flow as u8);
        self.flows.store(bits, Ordering::SeqCst);
    }

    /// Lets the gateway's forwarding switches be closed and opened at this interval; 0 for never.
    pub fn open_forwarding_every(&self, milliseconds: u32) {
        self.open_forwarding_every.store(milliseconds, Ordering::SeqCst);
    }

    /// Tells every thread to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether they were told.
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
    /// For what the gateway host itself sends: a connected socket keeps its route, which raw
    /// packets do not.
    connected: Option<UdpSocket>,
}

impl Sockets {
    fn open() -> io::Result<Self> {
        const IPPROTO_RAW: i32 = 255;
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
        // Nobody reads them, and a full send buffer must not stop the clock.
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

/// A UDP socket in the name of the inside address, whether an interface has that address or not.
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
        // A machine that was busy for long does not get a burst afterwards.
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

/// The number of the flow's packet of this millisecond: each source sends a protected one every
/// millisecond, those from outside to the host and to the gateway in turn, and an unprotected one
/// now and then.
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

/// Writes 0 into them.
pub fn close_forwarding() {
    for switch in SWITCHES {
        let _ = std::fs::write(switch, "0");
    }
}

/// A thread at the gateway's UDP port: what arrives there was accepted. `accepted` is called for
/// each marked datagram.
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
                // Where `listen` counts behind the peer.
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
