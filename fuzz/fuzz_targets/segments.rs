//! See `fuzz_bodies::segments`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_bodies::segments::segments(data));
