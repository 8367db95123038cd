//! An IKE endpoint on two UDP sockets: a minimal caller for interoperability tests, without a data
//! plane.
//!
//! ```text
//! IKE_PSK='secret' ike_shell LOCAL REMOTE LOCAL_NET REMOTE_NET [OPTION]...
//! ```
//!
//! Options: `group=N`, `encryption=aes128gcm|aes256gcm|aes128cbc|aes256cbc` (IKE and ESP alike),
//! `pfs=N`, `esn`, `fragment=SIZE`, `transport`, `udp` (ESP in UDP without a NAT), `mlkem`
//! (ML-KEM-768 as additional key exchange), `ppk=ID` (a required PPK whose key is in IKE_PPK,
//! hexadecimal). Commands on standard input, one a line: `initiate`, `child`, `rekey-child`,
//! `rekey-ike`, `probe`, `delete-child`, `delete`, `sleep N`, `quit`. Every action is printed, keys
//! are not. It needs root for port 500.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ike::*;

const TAG: ChildTag = ChildTag(1);
const CONNECTION: ConnectionId = ConnectionId(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, remote, local_net, remote_net, options @ ..] = &arguments[..] else {
        return Err("usage: ike_shell LOCAL REMOTE LOCAL_NET REMOTE_NET [OPTION]...".into());
    };
    let (local, remote): (IpAddr, IpAddr) = (local.parse()?, remote.parse()?);
    let key = std::env::var("IKE_PSK")?;
    let mut config = EndpointConfig::default();
    let mut connection = Connection::psk(CONNECTION, local, remote, Secret::from(key.as_str()));
    connection.children = vec![ChildPolicy {
        tag: TAG,
        local_selectors: vec![network(local_net)?],
        remote_selectors: vec![network(remote_net)?],
        proposals: EspProposal::defaults(),
        mode: Mode::Tunnel,
        transport_required: false,
        lifetime: ChildLifetime::default(),
    }];
    for option in options {
        apply(option, &mut config, &mut connection)?;
    }
    let mut endpoint = Endpoint::new(config, Box::new(SystemRandom), Box::<RandomSpis>::default());
    endpoint.set_connection(connection);
    Shell::new(endpoint, local, remote)?.run(&orders())
}

fn network(text: &str) -> Result<TrafficSelector, Box<dyn Error>> {
    let (address, length) = text.split_once('/').ok_or("a network is ADDRESS/LENGTH")?;
    Ok(TrafficSelector::prefix(address.parse()?, length.parse()?))
}

fn apply(
    option: &str,
    config: &mut EndpointConfig,
    connection: &mut Connection,
) -> Result<(), Box<dyn Error>> {
    let esp = &mut connection.children[0].proposals;
    match option.split_once('=').unwrap_or((option, "")) {
        ("group", number) => {
            let group = Group::from_number(number.parse()?).ok_or("unknown group")?;
            connection.ike_proposals.iter_mut().for_each(|proposal| proposal.groups = vec![group]);
        }
        ("pfs", number) => {
            let group = Group::from_number(number.parse()?).ok_or("unknown group")?;
            esp.iter_mut().for_each(|proposal| proposal.groups = vec![group]);
        }
        ("encryption", name) => {
            let encryption = match name {
                "aes128gcm" => Encryption::AesGcm128,
                "aes256gcm" => Encryption::AesGcm256,
                "aes128cbc" => Encryption::AesCbc128,
                "aes256cbc" => Encryption::AesCbc256,
                _ => return Err("unknown encryption".into()),
            };
            let integrity = vec![Integrity::HmacSha256_128];
            for proposal in &mut connection.ike_proposals {
                (proposal.encryption, proposal.integrity) = (vec![encryption], integrity.clone());
                proposal.prf = vec![Prf::HmacSha256];
            }
            for proposal in esp {
                (proposal.encryption, proposal.integrity) = (vec![encryption], integrity.clone());
            }
        }
        ("esn", _) => esp.iter_mut().for_each(|proposal| proposal.esn = vec![true]),
        ("fragment", size) => config.fragment_size = Some(size.parse()?),
        ("mlkem", _) => {
            for proposal in &mut connection.ike_proposals {
                let groups = vec![Group::MlKem768];
                proposal.additional = vec![AdditionalExchange { number: 1, groups, optional: false }];
            }
        }
        ("ppk", id) => {
            let digits = std::env::var("IKE_PPK")?;
            let octets: Result<Vec<u8>, _> =
                (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16)).collect();
            let key = Secret::new(octets?);
            connection.ppk = Some(Ppk { id: id.into(), key, required: true });
        }
        ("transport", _) => connection.children[0].mode = Mode::Transport,
        ("udp", _) => connection.force_udp_encapsulation = true,
        (unknown, _) => return Err(format!("unknown option {unknown}").into()),
    }
    Ok(())
}

/// Lines of standard input, in order of arrival.
fn orders() -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(seconds) = line.strip_prefix("sleep ").and_then(|text| text.parse().ok()) {
                std::thread::sleep(Duration::from_secs_f64(seconds));
            } else if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Shell {
    endpoint: Endpoint,
    sockets: [UdpSocket; 2],
    local: SocketAddr,
    remote: SocketAddr,
    origin: Instant,
    children: BTreeMap<ChildId, u32>,
    ike: Option<IkeId>,
}

impl Shell {
    fn new(endpoint: Endpoint, local: IpAddr, remote: IpAddr) -> Result<Self, Box<dyn Error>> {
        let sockets = [UdpSocket::bind((local, 500))?, UdpSocket::bind((local, 4500))?];
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        let (local, remote) = (SocketAddr::new(local, 500), SocketAddr::new(remote, 500));
        Ok(Shell {
            endpoint,
            sockets,
            local,
            remote,
            origin: Instant::now(),
            children: BTreeMap::new(),
            ike: None,
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn run(mut self, orders: &Receiver<String>) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 65_536];
        loop {
            let mut idle = true;
            for socket in 0..self.sockets.len() {
                if let Ok((length, from)) = self.sockets[socket].recv_from(&mut buffer) {
                    let to = self.sockets[socket].local_addr()?;
                    self.endpoint.handle_datagram(self.now(), from, to, &buffer[..length]);
                    idle = false;
                }
            }
            match orders.try_recv() {
                Ok(order) if order == "quit" => return Ok(()),
                Ok(order) => self.order(&order)?,
                Err(_) => {}
            }
            self.endpoint.handle_timeout(self.now());
            self.drain()?;
            if idle {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn order(&mut self, order: &str) -> Result<(), Box<dyn Error>> {
        println!("> {order}");
        let child = self.children.keys().last().copied();
        let command = match (order, self.ike, child) {
            ("initiate", ..) => Command::Initiate {
                connection: CONNECTION,
                child: Some(ChildRequest::new(TAG)),
                local: self.local,
                remote: self.remote,
            },
            ("child", Some(ike), _) => Command::CreateChild { ike, child: ChildRequest::new(TAG) },
            ("rekey-child", _, Some(child)) => Command::RekeyChild { child },
            ("rekey-ike", Some(ike), _) => Command::RekeyIke { ike },
            ("probe", Some(ike), _) => {
                Command::Liveness { ike, interval: Duration::from_secs(1), retries: 3 }
            }
            ("delete-child", _, Some(child)) => Command::DeleteChild { child },
            ("delete", Some(ike), _) => Command::DeleteIke { ike, notify_peer: true },
            _ => {
                println!("there is nothing to apply this to");
                return Ok(());
            }
        };
        let now = self.now();
        self.endpoint.command(now, command)?;
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let socket = &self.sockets[usize::from(transmit.from.port() == 4500)];
            socket.send_to(&transmit.bytes, transmit.to)?;
        }
        while let Some(action) = self.endpoint.poll_action() {
            self.note(&action);
            println!("{:8.3} {}", self.origin.elapsed().as_secs_f64(), describe(&action));
        }
        Ok(())
    }

    fn note(&mut self, action: &Action) {
        match action {
            Action::InstallChild(child) => {
                self.children.insert(child.child, child.inbound.spi);
            }
            Action::RemoveChild { child, .. } => {
                self.children.remove(child);
            }
            Action::IkeUp(info) => self.ike = Some(info.ike),
            Action::IkeRekeyed { new, .. } => self.ike = Some(new.ike),
            Action::IkeDown { .. } => self.ike = None,
            _ => {}
        }
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::InstallChild(child) => format!(
            "install child={} replaces={:?} in={:08x} out={:08x} {:?} {:?} udp={:?} ready={}",
            child.child.0,
            child.replaces.map(|replaced| replaced.0),
            child.inbound.spi,
            child.outbound.spi,
            child.suite,
            child.mode,
            child.udp_encapsulation,
            child.outbound_ready
        ),
        Action::Log(record) => format!("log {:?} {}", record.level, record.text),
        other => format!("{other:?}"),
    }
}
