//! Forged packets are rejected and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test stops where its own assumptions fail")]

mod support;

use aes_gcm_batch::{Engine, Job, KeySchedule};
use support::{Random, Reference, engines};

#[test]
fn every_single_bit_change_of_short_packets_is_rejected() {
    let mut random = Random(11);
    for key_len in [16, 24, 32] {
        let key = random.bytes(key_len);
        let (schedule, reference) = (KeySchedule::new(&key).unwrap(), Reference::new(&key));
        for length in [0, 1, 15, 16, 46, 47, 48, 64, 68, 100] {
            let (nonce, aad): ([u8; 12], _) = (random.bytes(12).try_into().unwrap(), random.bytes(12));
            let mut sealed = random.bytes(length);
            let tag = reference.seal(nonce, &aad, &mut sealed);
            sealed.extend_from_slice(&tag);
            for engine in engines() {
                reject_each_bit(engine, &schedule, nonce, &aad, &sealed);
            }
        }
    }
}

/// Changes every bit of text, tag, additional data and nonce, 32 forgeries a burst.
fn reject_each_bit(engine: Engine, schedule: &KeySchedule, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) {
    let whole = [sealed, aad, &nonce].concat();
    let bits: Vec<usize> = (0..8 * whole.len()).collect();
    for some in bits.chunks(32) {
        let mut forged: Vec<Vec<u8>> = some
            .iter()
            .map(|bit| {
                let mut copy = whole.clone();
                copy[bit / 8] ^= 1 << (bit % 8);
                copy
            })
            .collect();
        let mut jobs: Vec<Job<'_>> = forged
            .iter_mut()
            .map(|bytes| {
                let (packet, rest) = bytes.split_at_mut(sealed.len());
                let (aad, nonce) = rest.split_at(aad.len());
                let (text, tag) = packet.split_last_chunk_mut::<16>().unwrap();
                Job::new(schedule, nonce.try_into().unwrap(), aad, text, tag)
            })
            .collect();
        assert_eq!(engine.open(&mut jobs), some.len(), "{engine:?} text {}", sealed.len() - 16);
        assert!(jobs.iter().all(|job| !job.is_authentic()));
        drop(jobs);
        for bytes in forged {
            assert!(bytes[..sealed.len() - 16].iter().all(|&byte| byte == 0), "{engine:?} leaves zeros");
        }
    }
}

#[test]
fn a_forgery_among_good_packets_harms_none_of_them() {
    let schedule = KeySchedule::new(&[9; 16]).unwrap();
    for engine in engines() {
        for forged in 0..33 {
            let mut packets: Vec<([u8; 16], Vec<u8>)> =
                (0..33).map(|index| ([0; 16], vec![index as u8; 68 + index % 3])).collect();
            let nonce = |index: usize| [index as u8; 12];
            let mut jobs: Vec<Job<'_>> = Vec::new();
            for (index, (tag, text)) in packets.iter_mut().enumerate() {
                jobs.push(Job::new(&schedule, nonce(index), b"12345678", text, tag));
            }
            engine.seal(&mut jobs);
            drop(jobs);
            packets[forged].1[3] ^= 0x80;
            let mut jobs: Vec<Job<'_>> = Vec::new();
            for (index, (tag, text)) in packets.iter_mut().enumerate() {
                jobs.push(Job::new(&schedule, nonce(index), b"12345678", text, tag));
            }
            assert_eq!(engine.open(&mut jobs), 1);
            for (index, job) in jobs.iter().enumerate() {
                assert_eq!(job.is_authentic(), index != forged);
            }
            drop(jobs);
            for (index, (_, text)) in packets.iter().enumerate() {
                let expected = if index == forged { 0 } else { index as u8 };
                assert!(text.iter().all(|&byte| byte == expected));
            }
        }
    }
}
