//! A burst described by the input, sealed and opened by every back end of this CPU; all must agree
//! with the portable one.
//!
//! Input: key size, then per packet two bytes of length, one of offset, one of additional data's
//! length, one that says which bit to forge; what is left over is key, nonce and text material.

#![no_main]

use aes_gcm_batch::{Backend, Engine, Job, KeySchedule};
use libfuzzer_sys::fuzz_target;

struct Packet {
    frame: Vec<u8>,
    offset: usize,
    aad: Vec<u8>,
    forge: Option<usize>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&[key_size, count], rest)) = data.split_first_chunk::<2>() else { return };
    let Some((head, material)) = rest.split_at_checked(5 * usize::from(count % 34)) else { return };
    let fill = |length: usize, salt: usize| -> Vec<u8> {
        (0..length)
            .map(|index| {
                material.get((index + salt) % material.len().max(1)).map_or(0, |byte| byte ^ salt as u8)
            })
            .collect()
    };
    let key = fill([16, 24, 32][usize::from(key_size % 3)], 1);
    let Ok(schedule) = KeySchedule::new(&key) else { return };
    let packets: Vec<Packet> = head
        .chunks_exact(5)
        .enumerate()
        .map(|(index, fields)| {
            let length = usize::from(u16::from_le_bytes([fields[0], fields[1]])) % 10_000;
            let offset = usize::from(fields[2] % 64);
            let forge = (fields[4] & 1 == 1).then(|| usize::from(fields[4] >> 1) % (8 * (length + 16)));
            Packet {
                frame: fill(offset + length + 16, index),
                offset,
                aad: fill(usize::from(fields[3] % 64), index),
                forge,
            }
        })
        .collect();
    let mut expected: Option<(Vec<Vec<u8>>, Vec<bool>)> = None;
    for backend in Backend::ALL.into_iter().rev() {
        let Ok(engine) = Engine::with_backend(backend) else { continue };
        let mut frames: Vec<Vec<u8>> = packets.iter().map(|packet| packet.frame.clone()).collect();
        engine.seal(&mut jobs(&schedule, &packets, &mut frames));
        let mut result = frames.clone();
        for (frame, packet) in frames.iter_mut().zip(&packets) {
            if let Some(bit) = packet.forge {
                frame[packet.offset + bit / 8] ^= 1 << (bit % 8);
            }
        }
        let mut opened = jobs(&schedule, &packets, &mut frames);
        let rejected = engine.open(&mut opened);
        let verdicts: Vec<bool> = opened.iter().map(Job::is_authentic).collect();
        drop(opened);
        assert_eq!(rejected, packets.iter().filter(|packet| packet.forge.is_some()).count());
        result.append(&mut frames);
        match &expected {
            None => expected = Some((result, verdicts)),
            Some(expected) => assert_eq!(*expected, (result, verdicts), "{backend}"),
        }
    }
});

fn jobs<'a>(schedule: &'a KeySchedule, packets: &'a [Packet], frames: &'a mut [Vec<u8>]) -> Vec<Job<'a>> {
    packets
        .iter()
        .zip(frames)
        .enumerate()
        .filter_map(|(index, (packet, frame))| {
            let (text, tag) = frame[packet.offset..].split_last_chunk_mut::<16>()?;
            Some(Job::new(schedule, [index as u8; 12], &packet.aad, text, tag))
        })
        .collect()
}
