//! Nothing outside a packet is read or written: pages without access right before and right behind
//! it, at every offset.

#![allow(clippy::unwrap_used, reason = "a test stops where its own assumptions fail")]

mod support;

use aes_gcm_batch::{Job, KeySchedule};
use support::{Random, Reference, engines};

const PAGE: usize = 4096;

/// Readable pages between two that fault.
struct Guarded {
    start: *mut u8,
    pages: usize,
}

impl Guarded {
    fn new(pages: usize) -> Self {
        let size = (pages + 2) * PAGE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: one page into a mapping of more than two.
        let start = unsafe { start.cast::<u8>().add(PAGE) };
        // SAFETY: whole pages inside the mapping made above.
        let done = unsafe { libc::mprotect(start.cast(), pages * PAGE, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(done, 0);
        Guarded { start, pages }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these pages are mapped, writable and borrowed through `self` alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.pages * PAGE) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the first byte of the mapping.
        let first = unsafe { self.start.sub(PAGE) };
        // SAFETY: the mapping made by `new`, which is no longer borrowed.
        unsafe { libc::munmap(first.cast(), (self.pages + 2) * PAGE) };
    }
}

#[test]
fn packets_at_either_edge_of_a_mapping_are_sealed_and_opened() {
    let mut random = Random(5);
    let key = random.bytes(16);
    let (schedule, reference) = (KeySchedule::new(&key).unwrap(), Reference::new(&key));
    let (mut texts, mut tags) = (Guarded::new(1), Guarded::new(1));
    for engine in engines() {
        for length in (0..600).chain([1404, 2048, 4000, 4096]) {
            for at_end in [false, true] {
                let plain = random.bytes(length);
                let mut expected = plain.clone();
                let expected_tag = reference.seal([7; 12], b"abcdefgh", &mut expected);
                let (text, tag) = (texts.bytes(), tags.bytes());
                let text = if at_end { &mut text[PAGE - length..] } else { &mut text[..length] };
                let tag = if at_end { tag.last_chunk_mut() } else { tag.first_chunk_mut() }.unwrap();
                text.copy_from_slice(&plain);
                engine.seal(&mut [Job::new(&schedule, [7; 12], b"abcdefgh", text, tag)]);
                assert!(*text == expected && *tag == expected_tag, "{engine:?} {length}");
                assert_eq!(engine.open(&mut [Job::new(&schedule, [7; 12], b"abcdefgh", text, tag)]), 0);
                assert!(*text == plain, "{engine:?} {length}");
            }
        }
    }
}

#[test]
fn every_offset_in_a_cache_line_gives_the_same_bytes_and_touches_no_neighbour() {
    let mut random = Random(6);
    let key = random.bytes(32);
    let (schedule, reference) = (KeySchedule::new(&key).unwrap(), Reference::new(&key));
    let mut memory = Guarded::new(1);
    for engine in engines() {
        for length in [0, 1, 16, 46, 47, 48, 68, 111, 112, 113, 256, 304, 368, 600, 1404] {
            let plain = random.bytes(length);
            let mut expected = plain.clone();
            let tag = reference.seal([3; 12], b"abcdefghijkl", &mut expected);
            expected.extend_from_slice(&tag);
            for offset in 64..128 {
                let bytes = memory.bytes();
                bytes.fill(0xa5);
                let (before, rest) = bytes.split_at_mut(offset);
                let (text, rest) = rest.split_at_mut(length);
                let (tag, after) = rest.split_first_chunk_mut::<16>().unwrap();
                text.copy_from_slice(&plain);
                engine.seal(&mut [Job::new(&schedule, [3; 12], b"abcdefghijkl", text, tag)]);
                assert_eq!([&*text, &*tag].concat(), expected, "{engine:?} {length} at {offset}");
                assert!(
                    before.iter().chain(&*after).all(|&byte| byte == 0xa5),
                    "{engine:?} {length} at {offset}"
                );
            }
        }
    }
}
