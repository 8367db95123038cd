//! The cases without IKE, and the kernel's names of the algorithms.

use sa_table::record::{EspAlgorithm, Hmac, Mode};

/// The names and key lengths of one algorithm.
#[derive(Debug)]
pub struct Row {
    /// In our tables.
    pub algorithm: EspAlgorithm,
    /// In a transform set.
    pub transform: &'static str,
    /// In our `show` output.
    pub we_show: &'static str,
    /// Octets of the cipher's key with its salt.
    pub cipher_octets: usize,
    /// Octets of the HMAC's key.
    pub mac_octets: usize,
    /// The kernel's name of the cipher.
    pub cipher: &'static str,
    /// Its name of the HMAC and the truncated length in bits; empty for combined ciphers.
    pub mac: &'static str,
}

const GCM: &str = "rfc4106(gcm(aes))";
const GMAC: &str = "rfc4543(gcm(aes))";
const CHACHA: &str = "rfc7539esp(chacha20,poly1305)";
const CBC: &str = "cbc(aes)";
const NULL: &str = "ecb(cipher_null)";
const SHA1: &str = "hmac(sha1) 96";
const SHA256: &str = "hmac(sha256) 128";
const SHA384: &str = "hmac(sha384) 192";
const SHA512: &str = "hmac(sha512) 256";

const fn row(
    algorithm: EspAlgorithm,
    [transform, we_show]: [&'static str; 2],
    [cipher_octets, mac_octets]: [usize; 2],
    [cipher, mac]: [&'static str; 2],
) -> Row {
    Row { algorithm, transform, we_show, cipher_octets, mac_octets, cipher, mac }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(EspAlgorithm::AesGcm128, ["esp-gcm"; 2], [20, 0], [GCM, ""]),
    row(EspAlgorithm::AesGcm192, ["esp-gcm 192"; 2], [28, 0], [GCM, ""]),
    row(EspAlgorithm::AesGcm256, ["esp-gcm 256"; 2], [36, 0], [GCM, ""]),
    row(EspAlgorithm::AesGmac128, ["esp-gmac"; 2], [20, 0], [GMAC, ""]),
    row(EspAlgorithm::AesGmac192, ["esp-gmac 192"; 2], [28, 0], [GMAC, ""]),
    row(EspAlgorithm::AesGmac256, ["esp-gmac 256"; 2], [36, 0], [GMAC, ""]),
    row(EspAlgorithm::ChaCha20Poly1305, ["esp-chacha20-poly1305"; 2], [36, 0], [CHACHA, ""]),
    row(EspAlgorithm::AesCbc128(Hmac::Sha1_96), ["esp-aes esp-sha-hmac"; 2], [16, 20], [CBC, SHA1]),
    row(EspAlgorithm::AesCbc128(Hmac::Sha256_128), ["esp-aes esp-sha256-hmac"; 2], [16, 32], [CBC, SHA256]),
    row(EspAlgorithm::AesCbc192(Hmac::Sha384_192), ["esp-aes 192 esp-sha384-hmac", "esp-192-aes esp-sha384-hmac"], [24, 48], [CBC, SHA384]),
    row(EspAlgorithm::AesCbc256(Hmac::Sha512_256), ["esp-aes 256 esp-sha512-hmac", "esp-256-aes esp-sha512-hmac"], [32, 64], [CBC, SHA512]),
    row(EspAlgorithm::Null(Hmac::Sha256_128), ["esp-null esp-sha256-hmac"; 2], [0, 32], [NULL, SHA256]),
    row(EspAlgorithm::Null(Hmac::Sha512_256), ["esp-null esp-sha512-hmac"; 2], [0, 64], [NULL, SHA512]),
];

/// The program with the keys at our end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// The data plane alone, by tables of the laboratory.
    Tables,
    /// All of tohub, by an `ipsec-manual` entry.
    CryptoMap,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct HandCase {
    /// The algorithm.
    pub row: &'static Row,
    /// The program with the keys at our end.
    pub ours: Ours,
    /// Tunnel between networks, or transport between the ends.
    pub mode: Mode,
    /// In UDP.
    pub udp: bool,
    /// Extended sequence numbers.
    pub esn: bool,
    /// A transfer each way, beside the pings.
    pub transfer: bool,
}

impl HandCase {
    /// The name by which a case is selected and reported.
    pub fn name(&self) -> String {
        let ours = if self.ours == Ours::CryptoMap { "tohub, ipsec-manual" } else { "tohub" };
        let esn = if self.esn { " with ESN" } else { "" };
        let udp = if self.udp { " in UDP" } else { "" };
        let mode = if self.mode == Mode::Transport { ", transport mode" } else { "" };
        format!("{ours} = kernel by hand: {}{esn}{udp}{mode}", self.row.transform)
    }
}

/// Every case: each algorithm plain in a tunnel, without and with extended sequence numbers; then
/// the other forms, and the crypto map, whose manual keying supports neither extended sequence
/// numbers nor UDP nor combined ciphers.
pub fn cases() -> Vec<HandCase> {
    let plain =
        |row, esn| HandCase { row, ours: Ours::Tables, mode: Mode::Tunnel, udp: false, esn, transfer: false };
    let mut cases: Vec<_> = ROWS.iter().flat_map(|row| [plain(row, false), plain(row, true)]).collect();
    let some = |transforms: &[&str]| -> Vec<&'static Row> {
        ROWS.iter().filter(|row| transforms.contains(&row.transform)).collect()
    };
    let forms = some(&["esp-gcm", "esp-aes esp-sha256-hmac", "esp-null esp-sha256-hmac"]);
    for (mode, udp) in [(Mode::Tunnel, true), (Mode::Transport, false), (Mode::Transport, true)] {
        cases.extend(forms.iter().zip([false, true, false]).map(|(row, esn)| HandCase {
            mode,
            udp,
            transfer: true,
            // Over the forms each of the three algorithms occurs with both kinds of sequence
            // numbers.
            ..plain(row, esn != (mode == Mode::Transport && !udp))
        }));
    }
    let manual = |row, mode| HandCase { ours: Ours::CryptoMap, mode, transfer: true, ..plain(row, false) };
    let keyed = some(&[
        "esp-aes esp-sha-hmac",
        "esp-aes esp-sha256-hmac",
        "esp-aes 192 esp-sha384-hmac",
        "esp-aes 256 esp-sha512-hmac",
        "esp-null esp-sha256-hmac",
        "esp-null esp-sha512-hmac",
    ]);
    cases.extend(keyed.iter().map(|row| manual(row, Mode::Tunnel)));
    let between_ends = some(&["esp-aes 256 esp-sha512-hmac", "esp-null esp-sha256-hmac"]);
    cases.extend(between_ends.iter().map(|row| manual(row, Mode::Transport)));
    cases
}
