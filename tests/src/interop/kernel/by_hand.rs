//! Nobody speaks IKE: our data plane alone, with SAs and keys that the laboratory writes, opposite the kernel's with the same
//! (`ip xfrm`). Also what configurations cannot have by hand, the combined ciphers with their keys.

use std::net::IpAddr;
use std::time::Instant;

use lab::Result;
use lab::by_hand::{ByHand, Tunnel};
use lab::capture::Capture;
use lab::namespace::{Namespace, connect};
use lab::pcap::to_hex;
use sa_table::record::Algorithm;

use crate::bench::{FAR_HOST, HOST, OURS, THEIRS, fail};
use crate::runner::Outcome;
use crate::vm::Machine;

/// Algorithm, its name in the table, octets of the cipher's key with its salt and of the HMAC's, the kernel's words for both.
pub type Row = (Algorithm, &'static str, usize, usize, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (Algorithm::AesGcm128, "esp-gcm", 20, 0, "rfc4106(gcm(aes))", ""),
    (Algorithm::AesGcm192, "esp-gcm 192", 28, 0, "rfc4106(gcm(aes))", ""),
    (Algorithm::AesGcm256, "esp-gcm 256", 36, 0, "rfc4106(gcm(aes))", ""),
    (Algorithm::AesGmac128, "esp-gmac", 20, 0, "rfc4543(gcm(aes))", ""),
    (Algorithm::ChaCha20Poly1305, "esp-chacha20-poly1305", 36, 0, "rfc7539esp(chacha20,poly1305)", ""),
    (Algorithm::AesCbc128HmacSha256, "esp-aes esp-sha256-hmac", 16, 32, "cbc(aes)", "hmac(sha256) 128"),
    (Algorithm::AesCbc256HmacSha512, "esp-aes 256 esp-sha512-hmac", 32, 64, "cbc(aes)", "hmac(sha512) 256"),
    (Algorithm::NullHmacSha256, "esp-null esp-sha256-hmac", 0, 32, "ecb(cipher_null)", "hmac(sha256) 128"),
];

/// Every case: its row, and whether it has extended sequence numbers.
pub fn cases() -> impl Iterator<Item = (String, &'static Row, bool)> {
    ROWS.iter().flat_map(|row| {
        [false, true].map(|esn| {
            let words = if esn { " with ESN" } else { "" };
            (format!("tohub = kernel by hand: {}{words}", row.1), row, esn)
        })
    })
}

/// Plays one.
pub fn play(number: usize, name: String, row: &Row, esn: bool, machine: &Machine) -> Outcome {
    let started = Instant::now();
    let mut seen = Vec::new();
    let failure = pass(row, esn, machine, &mut seen).err().map(|error| error.to_string());
    let seconds = started.elapsed().as_secs_f32();
    match &failure {
        None => println!("ok    {name} ({seconds:.1} s) {}", seen.join(", ")),
        Some(why) => println!("FAIL  {name} ({seconds:.1} s)\n{why}"),
    }
    Outcome { number, name, seen, failure }
}

fn pass(row: &Row, esn: bool, machine: &Machine, seen: &mut Vec<String>) -> Result<()> {
    let &(algorithm, _, cipher_octets, mac_octets, cipher, mac) = row;
    let (host, gateway) = (Namespace::new("host")?, Namespace::new("gateway")?);
    connect(&host, "eth0", &gateway, "inside")?;
    host.address("eth0", &format!("{HOST}/24"))?;
    host.end_host_offloads("eth0")?;
    host.route("default", "192.168.1.1")?;
    let plug = machine.plug(&gateway, "outside")?;
    gateway.address("inside", "192.168.1.1/24")?;
    gateway.address("outside", &format!("{OURS}/24"))?;
    gateway.route("10.2.0.0/16", THEIRS)?;

    let key: Vec<u8> = (1..=u8::MAX).take(cipher_octets + mac_octets).collect();
    let (cipher_key, mac_key) = key.split_at(cipher_octets);
    let cipher_key = if cipher_key.is_empty() { String::new() } else { format!("0x{}", to_hex(cipher_key)) };
    let mac_key = format!("0x{}", to_hex(mac_key));
    let mut arguments = vec![THEIRS, OURS, "10.2.0.0/16", "192.168.1.0/24", "0x1001", "0x2002"];
    match mac.split_once(' ') {
        Some((name, bits)) => {
            arguments.extend(["enc", cipher, &cipher_key, "auth-trunc", name, &mac_key, bits])
        }
        None => arguments.extend(["aead", cipher, &cipher_key, "128"]),
    }
    if esn {
        arguments.extend(["flag", "esn", "replay-window", "64"]);
    }
    machine.stranger.manual_sas(&arguments)?;

    let tunnel = Tunnel {
        local: address(OURS)?,
        remote: address(THEIRS)?,
        inner_local: (address("192.168.1.0")?, 24),
        inner_remote: (address("10.2.0.0")?, 16),
        spi_in: 0x2002,
        spi_out: 0x1001,
        algorithm,
        key,
        esn,
    };
    let wire = Capture::start(&machine.namespace, plug.interface())?;
    let _gateway = ByHand::start(gateway, &tunnel)?;
    for size in ["56", "1300"] {
        let text = host.run("ping", &["-c", "5", "-i", "0.1", "-W", "5", "-s", size, FAR_HOST])?;
        if !text.contains(" 5 received") {
            return fail(&text);
        }
    }
    let text = machine.stranger.exec(&["ping", "-c", "5", "-i", "0.2", "-W", "5", "-I", FAR_HOST, HOST])?;
    if !text.contains(" 5 received") {
        return fail(&text);
    }
    let recording = wire.finish()?;
    let clear = recording.describe_clear();
    if recording.dropped > 0 || !clear.is_empty() || recording.esp_packets() < 30 {
        return fail(&format!(
            "{} ESP packets, {} missed, clear: {clear:?}",
            recording.esp_packets(),
            recording.dropped
        ));
    }
    seen.push(format!("{} ESP", recording.esp_packets()));
    Ok(())
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().or_else(|_| fail(&format!("{text} is no address")))
}
