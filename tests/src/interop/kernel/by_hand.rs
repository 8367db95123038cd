//! Cases without IKE: manually keyed SAs at both ends, by `ip xfrm` in the kernel. Our end is
//! either the data plane alone, with SAs that the laboratory writes (including what an
//! `ipsec-manual` entry does not support: combined ciphers, extended sequence numbers, UDP), or all
//! of tohub with an `ipsec-manual` crypto-map entry.

use std::net::IpAddr;
use std::time::Instant;

use lab::Result;
use lab::by_hand::{ByHand, Tunnel};
use lab::capture::Capture;
use lab::gateway::Gateway;
use lab::namespace::{Namespace, connect};
use lab::pcap::to_hex;
use lab::probe::Transfer;
use sa_table::record::{Encapsulation, Mode};

use super::hand_cases::{HandCase, Ours};
use crate::bench::{FAR_HOST, HOST, OURS, THEIRS, fail, interfaces};
use crate::ping::Pings;
use crate::runner::Outcome;
use crate::vm::Machine;

/// The kernel's inbound SPI.
const SPI_THERE: u32 = 0x1001;
/// Our inbound SPI.
const SPI_BACK: u32 = 0x2002;
const TRANSFER_PORT: u16 = 7001;
/// Five small pings and five large ones from us, five from the kernel, and the same number of
/// answers.
const PACKETS_OF_PINGS: usize = 30;

/// Runs one case.
pub fn play(number: usize, case: &HandCase, machine: &Machine) -> Outcome {
    let (started, name) = (Instant::now(), case.name());
    let mut seen = Vec::new();
    let failure = pass(case, machine, &mut seen).err().map(|error| error.to_string());
    let seconds = started.elapsed().as_secs_f32();
    match &failure {
        None => println!("ok    {name} ({seconds:.1} s) {}", seen.join(", ")),
        Some(why) => println!("FAIL  {name} ({seconds:.1} s)\n{why}"),
    }
    Outcome { number, name, seen, failure }
}

/// The program at our end.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum End {
    DataPlane(ByHand),
    Whole(Gateway),
}

impl End {
    fn namespace(&self) -> &Namespace {
        match self {
            Self::DataPlane(end) => end.namespace(),
            Self::Whole(end) => end.namespace(),
        }
    }
}

fn pass(case: &HandCase, machine: &Machine, seen: &mut Vec<String>) -> Result<()> {
    let (host, gateway) = (Namespace::new("host")?, Namespace::new("gateway")?);
    connect(&host, "eth0", &gateway, "inside")?;
    host.address("eth0", &format!("{HOST}/24"))?;
    host.end_host_offloads("eth0")?;
    host.route("default", "192.168.1.1")?;
    machine.stand_aside(case.udp)?;
    let plug = machine.plug(&gateway, "outside")?;
    give_keys_to_the_kernel(case, machine)?;

    let wire = Capture::start(&machine.namespace, plug.interface())?;
    let end = start(case, gateway)?;
    let (near, near_address, far_address) = match case.mode {
        Mode::Tunnel => (&host, HOST, FAR_HOST),
        Mode::Transport => (end.namespace(), OURS, THEIRS),
    };
    for size in [56, 1300] {
        Pings::new(far_address, 5, 5).of_size(size).send_from(near)?;
    }
    Pings::new(near_address, 5, 5).with_source(far_address).send_by(&machine.stranger)?;
    if case.transfer {
        let there = machine.receive(near, far_address, TRANSFER_PORT, 1)?;
        let back = machine.send(near, near_address, TRANSFER_PORT, 1)?;
        seen.push(both_intact(&there, &back)?);
    }
    if let End::Whole(gateway) = &end {
        let sas = gateway.cli("show crypto ipsec sa")?;
        let mode = if case.mode == Mode::Transport { "Transport" } else { "Tunnel" };
        for wanted in [format!("transform: {} ,", case.row.we_show), format!("in use settings ={{{mode}, }}")]
        {
            if !sas.contains(&wanted) {
                return fail(&format!("`{wanted}` is not in\n{sas}"));
            }
        }
    }
    seen.push(judge(case, wire)?);
    Ok(())
}

fn both_intact(there: &Transfer, back: &Transfer) -> Result<String> {
    if [there, back].iter().any(|transfer| !transfer.intact || transfer.bytes == 0) {
        return fail(&format!("a transfer arrived damaged: {there:?}, {back:?}"));
    }
    Ok(format!("{} MB each way, intact", there.bytes >> 20))
}

/// Checks that nothing is in clear, and that ESP has the form of the case.
fn judge(case: &HandCase, wire: Capture) -> Result<String> {
    let recording = wire.finish()?;
    let clear = match case.mode {
        Mode::Tunnel => recording.describe_clear(),
        Mode::Transport => recording.describe_unprotected(),
    };
    let (plain, udp) = (recording.esp_packets(), recording.udp_esp_packets());
    let (right, wrong, words) = if case.udp { (udp, plain, "ESP in UDP") } else { (plain, udp, "ESP") };
    if recording.dropped > 0 || !clear.is_empty() || right < PACKETS_OF_PINGS || wrong > 0 {
        return fail(&format!(
            "{plain} plain ESP packets, {udp} in UDP, {} missed, clear: {clear:?}",
            recording.dropped
        ));
    }
    Ok(format!("{right} {words}"))
}

/// The two ends of the pair: networks, or hosts in transport mode. Ours first.
fn ends(mode: Mode) -> [(&'static str, u8); 2] {
    match mode {
        Mode::Tunnel => [("192.168.1.0", 24), ("10.2.0.0", 16)],
        Mode::Transport => [(OURS, 32), (THEIRS, 32)],
    }
}

/// The key of the cipher with its salt, and the HMAC's.
fn keys(case: &HandCase) -> (Vec<u8>, Vec<u8>) {
    let mut key: Vec<u8> = (1..=u8::MAX).take(case.row.cipher_octets + case.row.mac_octets).collect();
    let mac = key.split_off(case.row.cipher_octets);
    (key, mac)
}

fn give_keys_to_the_kernel(case: &HandCase, machine: &Machine) -> Result<()> {
    let (cipher, mac) = keys(case);
    let cipher = if cipher.is_empty() { String::new() } else { format!("0x{}", to_hex(&cipher)) };
    let mac = format!("0x{}", to_hex(&mac));
    let [ours, theirs] = ends(case.mode).map(|(address, length)| format!("{address}/{length}"));
    let mode = if case.mode == Mode::Transport { "transport" } else { "tunnel" };
    let (there, back) = (format!("{SPI_THERE:#x}"), format!("{SPI_BACK:#x}"));
    let mut arguments = vec![mode, THEIRS, OURS, &theirs, &ours, &there, &back];
    match case.row.mac.split_once(' ') {
        Some((name, bits)) => {
            arguments.extend(["enc", case.row.cipher, &cipher, "auth-trunc", name, &mac, bits]);
        }
        None => arguments.extend(["aead", case.row.cipher, &cipher, "128"]),
    }
    if case.esn {
        arguments.extend(["flag", "esn", "replay-window", "64"]);
    }
    if case.udp {
        arguments.extend(["encap", "espinudp", "4500", "4500", "0.0.0.0"]);
    }
    machine.stranger.manual_sas(&arguments)
}

fn start(case: &HandCase, gateway: Namespace) -> Result<End> {
    match case.ours {
        Ours::CryptoMap => Gateway::start(gateway, &configuration(case), 1).map(End::Whole),
        Ours::Tables => {
            gateway.address("inside", "192.168.1.1/24")?;
            gateway.address("outside", &format!("{OURS}/24"))?;
            gateway.route("10.2.0.0/16", THEIRS)?;
            ByHand::start(gateway, &tunnel(case)?).map(End::DataPlane)
        }
    }
}

fn tunnel(case: &HandCase) -> Result<Tunnel> {
    let (cipher, mac) = keys(case);
    let [(ours, our_length), (theirs, their_length)] = ends(case.mode);
    Ok(Tunnel {
        local: address(OURS)?,
        remote: address(THEIRS)?,
        mode: case.mode,
        encapsulation: if case.udp {
            Encapsulation::Udp { local_port: 4500, remote_port: 4500 }
        } else {
            Encapsulation::None
        },
        inner_local: (address(ours)?, our_length),
        inner_remote: (address(theirs)?, their_length),
        spi_in: SPI_BACK,
        spi_out: SPI_THERE,
        algorithm: case.row.algorithm,
        key: [cipher, mac].concat(),
        esn: case.esn,
    })
}

/// The same as lines of a configuration.
fn configuration(case: &HandCase) -> String {
    let (cipher, mac) = keys(case);
    // NULL has no key, but the syntax requires one.
    let cipher = if cipher.is_empty() { "00".to_owned() } else { to_hex(&cipher) };
    let key = |direction: &str, spi: u32| {
        format!(" set session-key {direction} esp {spi} cipher {cipher} authenticator {}\n", to_hex(&mac))
    };
    let (mode, permit) = match case.mode {
        Mode::Tunnel => ("tunnel", "ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255".to_owned()),
        Mode::Transport => ("transport require", format!("ip host {OURS} host {THEIRS}")),
    };
    format!(
        "hostname gateway
crypto ipsec transform-set ts {}
 mode {mode}
crypto map tohub 1 ipsec-manual
 set peer {THEIRS}
{}{} set transform-set ts
 match address 101
{}access-list 101 permit {permit}
",
        case.row.transform,
        key("inbound", SPI_BACK),
        key("outbound", SPI_THERE),
        interfaces(OURS, THEIRS)
    )
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().or_else(|_| fail(&format!("{text} is no address")))
}
