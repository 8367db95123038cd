//! See `fuzz_bodies::headers`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_bodies::headers::wire(data));
