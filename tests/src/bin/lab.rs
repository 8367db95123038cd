//! Programs that the laboratory runs inside its namespaces. Each prints lines for the laboratory to
//! read.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lab::probe::now_ms;
use sha2::{Digest as _, Sha256};

#[derive(Parser)]
enum Program {
    /// Answers every UDP packet with itself.
    Echo { port: u16 },
    /// Sends a numbered UDP packet every interval and reports echoes; reads `pause` and `resume`
    /// from standard input.
    Probe { target: String, interval_ms: u64 },
    /// Accepts one TCP connection and prints its length and checksum.
    TcpSink { port: u16, seconds: u64 },
    /// Sends pseudo-random bytes and prints their length and checksum.
    TcpSend { target: String, megabytes: u32, seconds: u64 },
    /// Sends one UDP packet of that many bytes.
    Udp { target: String, bytes: usize },
    /// Sends datagrams that are almost IKE to UDP 500 and 4500 of a target, in the name of the
    /// source addresses in turn.
    IkeGarbage { target: std::net::Ipv4Addr, count: u32, sources: Vec<std::net::Ipv4Addr> },
    /// Sends malformed frames of every kind out of an interface, to a MAC address in hexadecimal
    /// and an IPv4 address.
    FrameGarbage { interface: String, mac: String, target: std::net::Ipv4Addr, count: u32 },
    /// Sends whole IPv4 packets, given in hexadecimal, whatever source address they bear.
    Inject { packets: Vec<String> },
}

fn main() -> std::io::Result<()> {
    match Program::parse() {
        Program::Echo { port } => echo(port),
        Program::Probe { target, interval_ms } => probe(&target, Duration::from_millis(interval_ms)),
        Program::TcpSink { port, seconds } => tcp_sink(port, Duration::from_secs(seconds)),
        Program::TcpSend { target, megabytes, seconds } => {
            tcp_send(&target, megabytes, Duration::from_secs(seconds))
        }
        Program::Udp { target, bytes } => {
            UdpSocket::bind("0.0.0.0:0")?.send_to(&vec![b'x'; bytes], target).map(drop)
        }
        Program::IkeGarbage { target, count, sources } => lab::garbage::flood_ike(target, count, &sources),
        Program::FrameGarbage { interface, mac, target, count } => {
            lab::garbage::flood_frames(&interface, &mac, target, count)
        }
        Program::Inject { packets } => inject(&packets),
    }
}

fn echo(port: u16) -> std::io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    println!("ready");
    let mut buffer = [0; 9000];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // A route may be missing for a moment while gateways switch: the echo is lost then, not the
        // server.
        let _ = socket.send_to(&buffer[..length], from);
    }
}

fn probe(target: &str, interval: Duration) -> std::io::Result<()> {
    let socket = Arc::new(UdpSocket::bind("0.0.0.0:0")?);
    let paused = Arc::new(AtomicBool::new(false));

    let listener = Arc::clone(&socket);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        // An ICMP error that came back is reported on the socket; the next echo may still come.
        loop {
            if let Ok(8) = listener.recv(&mut buffer)
                && let Ok(sequence) = buffer[..8].try_into()
            {
                println!("echo {} {}", u64::from_be_bytes(sequence), now_ms());
            }
        }
    });
    let commands = Arc::clone(&paused);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            commands.store(line == "pause", Ordering::Relaxed);
        }
        std::process::exit(0);
    });

    socket.connect(target)?;
    let mut next = Instant::now();
    let mut sequence = 0_u64;
    loop {
        if !paused.load(Ordering::Relaxed) {
            println!("sent {sequence} {}", now_ms());
            let _ = socket.send(&sequence.to_be_bytes());
            sequence += 1;
        }
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn inject(packets: &[String]) -> std::io::Result<()> {
    use socket2::{Domain, Protocol, Socket, Type};
    const IPPROTO_RAW: i32 = 255;
    let invalid = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, why.to_owned());
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    for packet in packets {
        let bytes = lab::pcap::from_hex(packet).ok_or_else(|| invalid("not hexadecimal"))?;
        let destination: [u8; 4] = bytes
            .get(16..20)
            .and_then(|field| field.try_into().ok())
            .ok_or_else(|| invalid("shorter than an IPv4 header"))?;
        socket.send_to(&bytes, &std::net::SocketAddr::from((destination, 0)).into())?;
    }
    Ok(())
}

fn tcp_sink(port: u16, limit: Duration) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("ready");
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(limit))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0_u64;
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
        total += length as u64;
    }
    stream.write_all(b"done")?;
    println!("{total} {}", lab::pcap::to_hex(&digest.finalize()));
    Ok(())
}

fn tcp_send(target: &str, megabytes: u32, limit: Duration) -> std::io::Result<()> {
    let address = target.parse().map_err(|error| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("{target}: {error}"))
    })?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_read_timeout(Some(limit))?;
    let mut digest = Sha256::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0_u64;
    let deadline = Instant::now() + limit;
    for _ in 0..u64::from(megabytes) * 16 {
        for chunk in buffer.chunks_exact_mut(8) {
            // xorshift64: cheap bytes that no compression or repetition can make right by accident.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        digest.update(&buffer);
        stream.write_all(&buffer)?;
        total += buffer.len() as u64;
        if Instant::now() > deadline {
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the transfer took too long"));
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    println!("{total} {}", lab::pcap::to_hex(&digest.finalize()));
    Ok(())
}
