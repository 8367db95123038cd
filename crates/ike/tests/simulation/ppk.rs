//! Post-quantum pre-shared keys (RFC 8784).

use std::time::Duration;

use ike::*;

use crate::network::*;

const SECOND: Duration = Duration::from_secs(1);

fn ppk(id: &str, key: &str, required: bool) -> Option<Ppk> {
    Some(Ppk { id: id.into(), key: Secret::from(key), required })
}

/// The network after an initiation by a, with these PPKs.
fn outcome(of_a: Option<Ppk>, of_b: Option<Ppk>) -> Network {
    let mut network = Network::with(1, |own, _, connection| {
        connection.ppk = if own == A { of_a.clone() } else { of_b.clone() };
    });
    network.initiate(A);
    network.run_for(200 * SECOND);
    network
}

fn child_key(network: &Network) -> Vec<u8> {
    network.gateways[A].children.values().next().unwrap().outbound.encryption_key.expose().to_vec()
}

/// ```text
/// a                                                       b
/// | -- IKE_SA_INIT .. N(USE_PPK) -----------------------> |
/// | <----------------------- IKE_SA_INIT .. N(USE_PPK) -- |
/// | -- IKE_AUTH .. AUTH, N(PPK_IDENTITY), [N(NO_PPK_AUTH)] |   SK_d, SK_pi, SK_pr have the PPK in them
/// | <---------------------- IKE_AUTH .. N(PPK_IDENTITY) -- |
/// ```
///
/// RFC 8784 §3
#[test]
fn a_ppk_that_both_ends_have_goes_into_the_keys_of_the_child() {
    let plain = child_key(&outcome(None, None));
    let mut keys = Vec::new();
    for (a, b) in [(true, true), (false, false), (true, false), (false, true)] {
        let mut network = outcome(ppk("k", "secret", a), ppk("k", "secret", b));
        network.assert_converged();
        keys.push(child_key(&network));
        let ike = network.ike(A);
        network.command(A, Command::RekeyIke { ike });
        network.run_for(SECOND);
        network.assert_converged();
    }
    assert!(keys.iter().all(|key| *key != plain), "the same seed without a PPK has other keys");
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

/// RFC 8784 §3
#[test]
fn a_ppk_that_one_end_lacks_is_left_out_if_neither_insists() {
    let plain = child_key(&outcome(None, None));
    for (a, b) in [
        (ppk("k", "secret", false), None),
        (None, ppk("k", "secret", false)),
        (ppk("k", "secret", false), ppk("other", "secret", false)),
    ] {
        let network = outcome(a, b);
        network.assert_converged();
        assert_eq!(child_key(&network), plain);
    }
}

/// RFC 8784 §3
#[test]
fn who_insists_on_a_ppk_has_no_ike_sa_without() {
    for (a, b, reason) in [
        (ppk("k", "secret", true), None, "Ppk protected=false"),
        (None, ppk("k", "secret", true), "NoProposal protected=false"),
        (ppk("k", "secret", true), ppk("other", "secret", false), "AuthFailed protected=true"),
        (ppk("k", "secret", false), ppk("other", "secret", true), "AuthFailed protected=true"),
        (ppk("k", "secret", true), ppk("k", "another secret", true), "AuthFailed protected=true"),
        (ppk("k", "secret", false), ppk("k", "another secret", false), "AuthFailed protected=true"),
    ] {
        let network = outcome(a, b);
        network.assert_empty();
        let events = &network.gateways[A].events;
        assert!(events.contains(&format!("initiation failed {reason}")), "{events:?}");
    }
}
