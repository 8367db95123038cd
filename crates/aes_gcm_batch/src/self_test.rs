//! The self-test of a back end before its first use.

use crate::{Engine, Job, KeySchedule, portable};

/// Lengths around every edge of every kernel: empty, within a block, at vector and group borders of
/// all widths, and a full frame.
const LENGTHS: [usize; 24] = [
    0, 1, 15, 16, 17, 31, 46, 48, 49, 64, 68, 112, 113, 128, 176, 240, 256, 304, 305, 368, 511, 1404, 4112,
    9000,
];

/// Seals one burst under all three key sizes with `engine` and with the portable code, compares,
/// opens it again, and has it rejected after a change of one bit.
pub(crate) fn agrees_with_portable(engine: Engine) -> bool {
    let keys: [u8; 32] = std::array::from_fn(|index| (index * 37 + 11) as u8);
    let schedules: Vec<KeySchedule> =
        [16, 24, 32].iter().filter_map(|&length| KeySchedule::new(&keys[..length]).ok()).collect();
    let plain: Vec<u8> = (0..9000).map(|index| (index * index + 7 * index) as u8).collect();

    let mut ours: Vec<Packet> = Vec::new();
    for schedule in &schedules {
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let aad_len = [8, 12, 0, 16, 20, 33][index % 6];
            let text = plain[..length].to_vec();
            ours.push(Packet {
                schedule,
                nonce: [index as u8; 12],
                aad: &plain[100..100 + aad_len],
                text,
                tag: [0; 16],
            });
        }
    }
    let mut reference = ours.clone();
    engine.seal(&mut jobs(&mut ours));
    portable::run::<false>(&mut jobs(&mut reference));
    if ours != reference {
        return false;
    }
    let mut forged = ours.clone();
    for (index, packet) in forged.iter_mut().enumerate() {
        packet.tag[index % 16] ^= 1 << (index % 8);
    }
    let opened =
        engine.open(&mut jobs(&mut ours)) == 0 && ours.iter().all(|packet| plain.starts_with(&packet.text));
    let rejected = engine.open(&mut jobs(&mut forged)) == forged.len();
    opened && rejected && forged.iter().all(|packet| packet.text.iter().all(|&byte| byte == 0))
}

#[derive(Clone)]
struct Packet<'a> {
    schedule: &'a KeySchedule,
    nonce: [u8; 12],
    aad: &'a [u8],
    text: Vec<u8>,
    tag: [u8; 16],
}

impl PartialEq for Packet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.tag == other.tag
    }
}

fn jobs<'a>(packets: &'a mut [Packet<'_>]) -> Vec<Job<'a>> {
    packets
        .iter_mut()
        .map(|packet| Job::new(packet.schedule, packet.nonce, packet.aad, &mut packet.text, &mut packet.tag))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    #[test]
    fn every_supported_back_end_passes() {
        for backend in Backend::ALL {
            match Engine::with_backend(backend) {
                Ok(engine) => assert_eq!(engine.backend(), backend),
                Err(error) => {
                    assert!(!backend.is_supported(), "{error}");
                    println!("not run: {error}");
                }
            }
        }
    }
}
