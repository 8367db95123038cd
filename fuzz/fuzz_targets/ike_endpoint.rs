//! See `fuzz_bodies::endpoint`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_bodies::endpoint::ike_endpoint(data));
