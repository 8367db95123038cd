//! Datagrams of an off-path attacker: none is authentic, all resemble valid ones.

use std::rc::Rc;

use ike::Random as _;
use sa_table::KeyMaterial;

use crate::network::Network;
use crate::plan::Forgery;
use crate::plane::{Packet, Sealed};
use crate::random::Stream;

const IKE_SA_INIT: u8 = 34;
const EXCHANGE: usize = 18;
const FLAGS: usize = 19;
const RESPONSE: u8 = 0x20;
const HEADER: usize = 28;
const NOTIFY: u8 = 41;

/// INVALID_IKE_SPI, INVALID_SYNTAX, NO_PROPOSAL_CHOSEN, AUTHENTICATION_FAILED (RFC 7296 §3.10.1).
const ERRORS: [u16; 4] = [4, 7, 14, 24];

/// Sends one forged datagram, if there is a message to derive it from.
pub fn forge(network: &mut Network, forgery: Forgery, draw: &mut Stream) {
    let count = network.gateways.len() as u64;
    let overheard = network.overheard.len() as u64;
    let message = network.overheard.get(draw.below(overheard) as usize).cloned();
    match (forgery, message) {
        (Forgery::Noise, _) => {
            let (from, to) = (draw.below(count) as usize, draw.below(count) as usize);
            let mut bytes = vec![0; draw.range(0, 200) as usize];
            draw.fill(&mut bytes);
            let socket = |index: usize| (network.gateways[index].address, 500).into();
            let (from, to) = (socket(from), socket(to));
            network.forge(from, to, &bytes);
        }
        (Forgery::Damaged, Some((from, to, mut bytes))) => {
            if bytes.get(EXCHANGE).is_some_and(|exchange| *exchange > IKE_SA_INIT) {
                let at = draw.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << draw.below(8);
                network.forge(from, to, &bytes);
            }
        }
        (Forgery::Replay, Some((from, to, bytes))) => network.forge(from, to, &bytes),
        (Forgery::ErrorNotify, Some(_)) => {
            let request = network.overheard.iter().rev().find(|(_, _, bytes)| {
                bytes.get(EXCHANGE) == Some(&IKE_SA_INIT)
                    && bytes.get(FLAGS).is_some_and(|f| f & RESPONSE == 0)
            });
            if let Some((from, to, bytes)) = request.cloned() {
                network.forge(to, from, &error_notify(&bytes, *draw.pick(&ERRORS)));
            }
        }
        (Forgery::Halves, Some((from, to, bytes))) => {
            if bytes.get(EXCHANGE) == Some(&IKE_SA_INIT)
                && bytes.get(FLAGS).is_some_and(|f| f & RESPONSE == 0)
            {
                for _ in 0..draw.range(1, 5) {
                    let mut bytes = bytes.clone();
                    draw.fill(&mut bytes[..8]);
                    network.forge(from, to, &bytes);
                }
            }
        }
        (Forgery::WrongKeys | Forgery::UnknownSpi, _) => esp(network, forgery, draw),
        (_, None) => {}
    }
}

/// An IKE_SA_INIT response to `request` that contains only an error notify.
fn error_notify(request: &[u8], error: u16) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..8].copy_from_slice(&request[..8]);
    bytes[16..20].copy_from_slice(&[NOTIFY, 0x20, IKE_SA_INIT, RESPONSE]);
    bytes[24..].copy_from_slice(&(HEADER as u32 + 8).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 8, 0, 0]);
    bytes.extend_from_slice(&error.to_be_bytes());
    bytes
}

fn esp(network: &mut Network, forgery: Forgery, draw: &mut Stream) {
    let mut records = Vec::new();
    for gateway in &network.gateways {
        let policies = gateway.control.policies().filter_map(|(id, _)| gateway.plane.outbound_record(id));
        records.extend(policies.map(|record| (gateway.address, record)));
    }
    if records.is_empty() {
        return;
    }
    let (from, mut record) = records.swap_remove(draw.below(records.len() as u64) as usize);
    if forgery == Forgery::UnknownSpi {
        record.spi = draw.range(256, u64::from(u32::MAX)) as u32;
    } else {
        let algorithm = record.keys.algorithm();
        let key = |length: usize| vec![0x55; length];
        let forged = KeyMaterial::new(
            algorithm,
            &key(algorithm.cipher_key_len()),
            &key(algorithm.integrity_key_len()),
            &key(algorithm.salt_len()),
        );
        let Ok(keys) = forged else { return };
        record.keys = keys;
    }
    let Some(flow) = network.flows.first() else { return };
    let packet = Packet { flow: 0, number: u64::MAX, answer: true, tuple: flow.tuple };
    let (to, sequence) = (record.destination, draw.range(1, 1 << 20));
    network.forge_esp(from, to, Sealed { sa: Rc::new(record), sequence, packet });
}
