//! Every back end against `aes-gcm` and ring on random bursts; the long run is `make test-aead`.

mod support;

#[test]
fn random_bursts_agree_with_two_other_libraries() {
    let packets = if cfg!(debug_assertions) { 150_000 } else { 400_000 };
    assert!(support::differential::run(&support::engines(), 0x7061_636b_6574, packets, |_| ()) >= packets);
}
