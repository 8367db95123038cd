//! See `fuzz_bodies::messages`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_bodies::messages::ike_checkpoint(data));
