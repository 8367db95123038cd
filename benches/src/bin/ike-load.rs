//! Many peers in one process: each makes a full handshake (IKE_SA_INIT, IKE_AUTH with the first
//! child) over UDP with the gateway that is measured, and leaves the IKE SA idle.
//!
//! ```text
//! ike-load drive RESPONDER PEERS [childless]    from 10.100.x.y each, sixteen at a time; prints what was done
//! ike-load config PEERS                         the configuration of a tohub that answers them on GigabitEthernet0/1
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ike::{
    Action, ChildLifetime, ChildPolicy, ChildRequest, ChildTag, Command, Connection, ConnectionId,
    Encryption, Endpoint, EndpointConfig, EspProposal, Group, IkeProposal, Mode, Prf, RandomSpis, Secret,
    SystemRandom, Time, TrafficSelector,
};

const KEY: &str = "a-key-for-measurements";
const AT_A_TIME: usize = 16;
/// Timeout of a handshake.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["config", peers] => peers.parse().map(|peers| print!("{}", config(peers))).map_err(Into::into),
        ["drive", responder, peers, ref how @ ..] => drive(responder, peers, how == ["childless"]),
        _ => Err("usage: ike-load drive RESPONDER PEERS [childless] | ike-load config PEERS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ike-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// (address of a peer, network behind it).
fn peer(number: usize) -> ([u8; 4], [u8; 4]) {
    let (high, low) = ((number / 250) as u8, (number % 250 + 1) as u8);
    ([10, 100, high, low], [10, 200, high, low])
}

fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

fn config(peers: usize) -> String {
    let mut text = format!(
        "hostname measured\ncrypto ike default-version 2\ncrypto ikev2 proposal p\n encryption aes-gcm-256\n prf sha256\n group 31\n\
         crypto ikev2 policy p\n proposal p\ncrypto isakmp key {KEY} address 0.0.0.0\n\
         crypto ipsec transform-set ts esp-gcm 256\n mode tunnel\n"
    );
    let mut lists = String::new();
    for number in 0..peers {
        let (address, network) = peer(number);
        let sequence = number + 1;
        text.push_str(&format!(
            "crypto map m {sequence} ipsec-isakmp\n set peer {}\n set transform-set ts\n match address p{sequence}\n",
            dotted(address)
        ));
        lists.push_str(&format!(
            "ip access-list extended p{sequence}\n permit ip 10.2.0.0 0.0.255.255 host {}\n",
            dotted(network)
        ));
    }
    text.push_str(
        "interface GigabitEthernet0/1\n device outside\n ip address 10.1.1.1 255.255.255.0\n crypto map m\n\
         ip route 10.100.0.0 255.255.0.0 10.1.1.2\nip route 10.200.0.0 255.255.0.0 10.1.1.2\n",
    );
    text + &lists + "end\n"
}

/// A handshake under way.
struct Attempt {
    endpoint: Endpoint,
    sockets: [UdpSocket; 2],
    begun: Instant,
    up: bool,
    children: usize,
}

fn drive(responder: &str, peers: &str, childless: bool) -> Result<(), Box<dyn Error>> {
    let responder: IpAddr = responder.parse()?;
    let peers: usize = peers.parse()?;
    let begin = Instant::now();
    let now = || Time::from_millis(begin.elapsed().as_millis() as u64);
    let (mut waiting, mut active, mut done) = (0..peers, Vec::new(), 0);
    let mut buffer = vec![0; 65_536];
    while done < peers {
        while active.len() < AT_A_TIME
            && let Some(number) = waiting.next()
        {
            active.push(Attempt::begin(number, responder, childless, now())?);
        }
        let mut idle = true;
        for attempt in &mut active {
            idle &= !attempt.work(now(), &mut buffer)?;
        }
        let before = active.len();
        active.retain(|attempt| !(attempt.up && attempt.children == usize::from(!childless)));
        done += before - active.len();
        if active.iter().any(|attempt| attempt.begun.elapsed() > PATIENCE) {
            return Err(format!("a handshake was not done in {PATIENCE:?}; {done} of {peers} were").into());
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    println!("handshakes={done} seconds={:.3}", begin.elapsed().as_secs_f64());
    Ok(())
}

impl Attempt {
    fn begin(number: usize, responder: IpAddr, childless: bool, now: Time) -> Result<Self, Box<dyn Error>> {
        let (address, network) = peer(number);
        let local = IpAddr::from(address);
        let bind = |port| -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((local, port))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let mut endpoint =
            Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::<RandomSpis>::default());
        let mut connection = Connection::psk(ConnectionId(1), local, responder, Secret::from(KEY));
        connection.ike_proposals = vec![IkeProposal {
            encryption: vec![Encryption::AesGcm256],
            integrity: vec![],
            prf: vec![Prf::HmacSha256],
            groups: vec![Group::Curve25519],
            ..IkeProposal::defaults()[0].clone()
        }];
        let mut esp = EspProposal::defaults();
        esp.truncate(1);
        esp[0].esn = vec![false];
        connection.children = vec![ChildPolicy {
            tag: ChildTag(1),
            local_selectors: vec![TrafficSelector::host(network.into())],
            remote_selectors: vec![TrafficSelector::prefix([10, 2, 0, 0].into(), 16)],
            proposals: esp,
            mode: Mode::Tunnel,
            transport_required: false,
            lifetime: ChildLifetime::default(),
        }];
        endpoint.set_connection(connection);
        let child = (!childless).then(|| ChildRequest::new(ChildTag(1)));
        let (local, remote) = (SocketAddr::new(local, 500), SocketAddr::new(responder, 500));
        endpoint.command(now, Command::Initiate { connection: ConnectionId(1), child, local, remote })?;
        let sockets = [bind(500)?, bind(4500)?];
        Ok(Attempt { endpoint, sockets, begun: Instant::now(), up: false, children: 0 })
    }

    /// Processes what is due; false if there was nothing.
    fn work(&mut self, now: Time, buffer: &mut [u8]) -> Result<bool, Box<dyn Error>> {
        let mut busy = false;
        for socket in &self.sockets {
            match socket.recv_from(buffer) {
                Ok((length, from)) => {
                    busy = true;
                    self.endpoint.handle_datagram(now, from, socket.local_addr()?, &buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.endpoint.handle_timeout(now);
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let socket = &self.sockets[usize::from(transmit.from.port() == 4500)];
            socket.send_to(&transmit.bytes, transmit.to)?;
        }
        while let Some(action) = self.endpoint.poll_action() {
            match action {
                Action::IkeUp(_) => self.up = true,
                Action::InstallChild(_) => self.children += 1,
                Action::InitiationFailed { reason, .. } => return Err(format!("refused: {reason:?}").into()),
                Action::ChildFailed { reason, .. } => return Err(format!("no child: {reason:?}").into()),
                _ => {}
            }
        }
        Ok(busy)
    }
}
