//! Authentication and further inputs of the keys: certificates, ML-KEM, post-quantum pre-shared
//! keys; and IKE fragmentation, which they cause.

use lab::Result;
use lab::command::wait_for;
use lab::peer::Release;

use crate::bench::{Bench, fail};
use crate::case::{BOTH, Case, Initiator, Opposite, RELEASES, WITH_PROFILE, profile};
use crate::plays;

/// Key type, our name of the method, our `show` output.
const METHODS: [(&str, &str, &str); 3] = [
    ("rsa", "rsa-sig", "Auth sign: RSA, Auth verify: RSA"),
    ("ecdsa", "ecdsa-sig", "Auth sign: ECDSA, Auth verify: ECDSA"),
    ("ed25519", "ecdsa-sig", "Auth sign: EDDSA, Auth verify: EDDSA"),
];
/// The key in the template `ikev2-ppk`.
const PPK: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            for (kind, method, shown) in METHODS {
                let case = |title: &str| {
                    certificates(title, release, initiator, kind, method).showing(&[shown], &[])
                };
                cases
                    .push(case(&format!("{kind} certificates, IKE_AUTH in fragments")).playing(in_fragments));
                if kind == "rsa" {
                    let whole = case("rsa certificates, no fragments").with(&["FRAGMENTATION=no"]);
                    cases.push(whole.playing(whole_messages));
                }
            }
            cases.push(small_fragments(release, initiator));
            cases.push(ppk(release, initiator));
        }
    }
    cases.extend(BOTH.map(ml_kem));
    cases
}

fn certificates(
    title: &str,
    release: Release,
    initiator: Initiator,
    kind: &'static str,
    method: &str,
) -> Case {
    let mut case = Case::new(title, Opposite::Namespace(release), initiator);
    case.template = "ikev2-cert";
    case.pki = Some(kind);
    case.ours.ike = format!(
        "crypto ikev2 proposal strangers\n encryption aes-cbc-256\n integrity sha256\n group 19\n\
         crypto ikev2 policy strangers\n proposal strangers\n\
         crypto pki trustpoint T\n revocation-check none\n\
         crypto ikev2 profile strangers\n match identity remote address 192.0.2.2 255.255.255.255\n \
         identity local address 192.0.2.1\n authentication remote {method}\n authentication local {method}\n \
         pki trustpoint T\n dpd 10 2 periodic\n"
    );
    case.ours.entry = WITH_PROFILE.to_owned();
    case
}

/// With pre-shared keys, and a fragment size so small that our IKE_AUTH needs several; the peer's
/// messages fit in one.
fn small_fragments(release: Release, initiator: Initiator) -> Case {
    let mut case = Case::new("our fragments are small", Opposite::Namespace(release), initiator);
    case.ours.ike.push_str("crypto ikev2 fragmentation mtu 160\n");
    case.playing(|bench| {
        plays::tunnel(bench)?;
        let log = bench.stranger.program().log();
        if !log.contains("received fragment #1 of") {
            return fail("the stranger received no fragment");
        }
        Ok(())
    })
}

fn ppk(release: Release, initiator: Initiator) -> Case {
    let mut case = Case::new("post-quantum pre-shared key", Opposite::Namespace(release), initiator);
    case.template = "ikev2-ppk";
    case.ours.ike =
        profile(&["encryption aes-cbc-256", "integrity sha256", "group 19"], &["dpd 10 2 periodic"]).replace(
            "crypto ikev2 profile",
            &format!("  ppk manual id ppk1 key hex {PPK} required\ncrypto ikev2 profile"),
        );
    case.ours.entry = WITH_PROFILE.to_owned();
    case.playing(|bench| {
        plays::tunnel(bench)?;
        let log = bench.stranger.program().log();
        if log.contains("using PPK for PPK_ID 'ppk1'") { Ok(()) } else { fail("the stranger used no PPK") }
    })
}

/// x25519 and ML-KEM-768 for the IKE SA and for each rekeying, which the peer initiates.
fn ml_kem(initiator: Initiator) -> Case {
    let mut case =
        Case::new("ML-KEM-768 beside x25519, rekeyed", Opposite::Namespace(Release::Six), initiator);
    case.template = "ikev2-mlkem";
    case.settings.clear();
    case.ours.ike = profile(
        &["encryption aes-gcm-256", "prf sha384", "group 31", "additional-key-exchange 1 mlkem768"],
        &["dpd 10 2 periodic"],
    );
    case.ours.entry = format!("{WITH_PROFILE} set pfs group31\n");
    case.ours.transform = "esp-gcm 256".to_owned();
    case.showing(&["DH Grp:31,"], &["KE1_ML_KEM_768"]).playing(|bench| {
        bench.raise()?;
        bench.ping_both_ways()?;
        if !bench.stranger.program().log().contains("IKE_INTERMEDIATE request 1 [ KE ]") {
            return fail("there was no IKE_INTERMEDIATE");
        }
        for (what, done) in [(["--rekey", "--child", "net"], 1), (["--rekey", "--ike", "gw"], 2)] {
            bench.stranger.program().swanctl(&what)?;
            wait_for("IKE_FOLLOWUP_KE", 10, || {
                let count = bench.stranger.program().log().matches("parsed IKE_FOLLOWUP_KE response").count();
                (count >= done).then_some(())
            })?;
            bench.ping_both_ways()?;
        }
        bench.transfer_both_ways()?;
        bench.ends_agree()?;
        bench.judge_wire()
    })
}

/// The certificates do not fit into the 576 octets that the peers are configured to use.
fn in_fragments(bench: &mut Bench) -> Result<()> {
    plays::transfer(bench)?;
    if bench.stranger.program().log().contains("EF(2/") { Ok(()) } else { fail("IKE_AUTH was in one piece") }
}

fn whole_messages(bench: &mut Bench) -> Result<()> {
    plays::tunnel(bench)?;
    if bench.stranger.program().log().contains("EF(") { fail("IKE_AUTH was in fragments") } else { Ok(()) }
}
