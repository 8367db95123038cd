//! The UDP sockets of IKE: ports 500 and 4500 on each local crypto address.
//!
//! There is one socket for each address and port, so that a response leaves from the address that
//! received the request. Datagrams may be fragmented by IP, since IKE messages can exceed the path
//! MTU (the kernel reassembles, the data plane passes fragments).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Maximum size of a received IKE datagram; RFC 7296 §2 requires at least 3000.
const MAX_DATAGRAM: usize = 65_535;

/// A received datagram.
#[derive(Debug)]
pub struct Datagram {
    /// Source: the peer.
    pub from: SocketAddr,
    /// Destination: the local address and port.
    pub to: SocketAddr,
    /// Payload.
    pub bytes: Vec<u8>,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process uses the port.
    #[error(
        "UDP {0} is in use: another IKE daemon or another tohub runs here; find it with \"ss -lunp sport = :{port}\" \
         and stop it",
        port = .0.port()
    )]
    InUse(SocketAddr),
    /// Another error.
    #[error("opening UDP {address}: {source}")]
    Open {
        /// Address and port of the socket.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

/// The open sockets.
pub struct Sockets {
    open: BTreeMap<SocketAddr, (Rc<UdpSocket>, JoinHandle<()>)>,
    incoming: mpsc::Sender<Datagram>,
}

impl Sockets {
    /// Without sockets. Received datagrams are sent to `incoming`; while it is full they wait in
    /// the kernel.
    pub fn new(incoming: mpsc::Sender<Datagram>) -> Self {
        Sockets { open: BTreeMap::new(), incoming }
    }

    /// Opens missing sockets and closes others. Returns the sockets that could not be opened.
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

    /// Sends a datagram. One that the kernel does not accept now is lost, and IKE retransmits it.
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
            // An ICMP error for an earlier datagram; the socket remains usable.
            Err(error) => {
                tracing::debug!(%to, %error, "reading an IKE socket");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
