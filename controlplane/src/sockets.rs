//! The UDP sockets of IKE: ports 500 and 4500 on each local crypto address.
//!
//! One socket per address and port, so that an answer leaves from the address that was asked.
//! Datagrams may be fragmented on the way: IKE's own messages are larger than some paths (the
//! kernel reassembles, the data plane passes them).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest IKE datagram that is read; RFC 7296 §2 asks for 3000 at least.
const MAX_DATAGRAM: usize = 65_535;

/// A datagram as it came in.
#[derive(Debug)]
pub struct Datagram {
    /// The peer.
    pub from: SocketAddr,
    /// Our address and port.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody else has the port.
    #[error(
        "UDP {0} is in use: another IKE daemon or another tohub runs here; find it with \"ss -lunp sport = :{port}\" \
         and stop it",
        port = .0.port()
    )]
    InUse(SocketAddr),
    /// Anything else.
    #[error("opening UDP {address}: {source}")]
    Open {
        /// Which socket.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// The open sockets.
pub struct Sockets {
    open: BTreeMap<SocketAddr, (Rc<UdpSocket>, JoinHandle<()>)>,
    incoming: mpsc::Sender<Datagram>,
}

impl Sockets {
    /// No socket yet; what comes in goes to `incoming`, and waits in the kernel while that is full.
    pub fn new(incoming: mpsc::Sender<Datagram>) -> Self {
        Sockets { open: BTreeMap::new(), incoming }
    }

    /// Opens what is missing and closes what is surplus. Gives the sockets that could not be
    /// opened.
    pub fn serve(&mut self, addresses: &BTreeSet<IpAddr>) -> Vec<SocketError> {
        let wanted: BTreeSet<SocketAddr> = addresses
            .iter()
            .flat_map(|address| [500, 4500].map(|port| SocketAddr::new(*address, port)))
            .collect();
        self.open.retain(|address, (_, reader)| {
            let keep = wanted.contains(address);
            if !keep {
                reader.abort();
            }
            keep
        });
        let mut troubles = Vec::new();
        for address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match open(address) {
                Ok(socket) => {
                    let socket = Rc::new(socket);
                    let reader =
                        tokio::task::spawn_local(read(Rc::clone(&socket), address, self.incoming.clone()));
                    self.open.insert(address, (socket, reader));
                }
                Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
                    troubles.push(SocketError::InUse(address));
                }
                Err(source) => troubles.push(SocketError::Open { address, source }),
            }
        }
        troubles
    }

    /// Sends a datagram; one that the kernel does not take now is lost, as on the way, and IKE
    /// sends it again.
    pub fn send(&self, transmit: &ike::Transmit) {
        let Some((socket, _)) = self.open.get(&transmit.from) else {
            tracing::debug!(from = %transmit.from, "no socket on this address");
            return;
        };
        if let Err(error) = socket.try_send_to(&transmit.bytes, transmit.to) {
            tracing::debug!(to = %transmit.to, %error, "IKE datagram not sent");
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for (_, reader) in self.open.values() {
            reader.abort();
        }
    }
}

fn open(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        sockopt::set_ipv6_mtu_discover(&socket, sockopt::Ipv6PathMtuDiscovery::DONT)?;
    } else {
        sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DONT)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn read(socket: Rc<UdpSocket>, to: SocketAddr, incoming: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let bytes = buffer[..length].to_vec();
                if incoming.send(Datagram { from, to, bytes }).await.is_err() {
                    return;
                }
            }
            // An ICMP error of an earlier datagram; the socket works on.
            Err(error) => {
                tracing::debug!(%to, %error, "reading an IKE socket");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
