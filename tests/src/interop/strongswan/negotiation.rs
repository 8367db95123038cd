//! Groups and ciphers of IKE, ciphers of ESP.

use crate::algorithms::{self, EspTransform};
use crate::case::{BOTH, Case, Initiator, Opposite, Ours, RELEASES, WITH_PROFILE, isakmp, profile};
use crate::plays;

/// Number, strongSwan's name in a proposal, strongSwan's name in the list of SAs.
const GROUPS: [(u16, &str, &str); 7] = [
    (14, "modp2048", "MODP_2048"),
    (15, "modp3072", "MODP_3072"),
    (16, "modp4096", "MODP_4096"),
    (19, "ecp256", "ECP_256"),
    (20, "ecp384", "ECP_384"),
    (21, "ecp521", "ECP_521"),
    (31, "x25519", "CURVE_25519"),
];

/// Lines of a policy, strongSwan's proposal, output of each end.
const IKE_CBC: [(&str, &str, &str, &str, &str); 3] = [
    (
        "aes",
        "sha256",
        "aes128-sha256-ecp256",
        "Encr: AES-CBC, keysize: 128, PRF: SHA256",
        "AES_CBC-128/HMAC_SHA2_256_128",
    ),
    (
        "aes 192",
        "sha384",
        "aes192-sha384-ecp256",
        "Encr: AES-CBC, keysize: 192, PRF: SHA384",
        "AES_CBC-192/HMAC_SHA2_384_192",
    ),
    (
        "aes 256",
        "sha512",
        "aes256-sha512-ecp256",
        "Encr: AES-CBC, keysize: 256, PRF: SHA512",
        "AES_CBC-256/HMAC_SHA2_512_256",
    ),
];

/// The same for combined ciphers: bits, PRF.
const IKE_GCM: [(u16, &str, &str); 2] = [(128, "sha256", "HMAC_SHA2_256"), (256, "sha384", "HMAC_SHA2_384")];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            let new = |title: String| Case::new(title, Opposite::Namespace(release), initiator);
            for (number, word, shown) in GROUPS {
                cases.push(group(new(format!("group {number}")), number, word, shown));
            }
            for (encryption, hash, proposal, ours, theirs) in IKE_CBC {
                let mut case = new(format!("IKE with {encryption}, {hash}"))
                    .with(&[&format!("IKE={proposal}")])
                    .showing(&[ours], &[theirs]);
                case.ours.ike = isakmp(encryption, hash, 19);
                cases.push(case);
            }
            for (bits, prf, shown) in IKE_GCM {
                cases.push(combined(new(format!("IKE with AES-GCM {bits}")), bits, prf, shown));
            }
            for (number, algorithm) in (0..).zip(algorithms::of_user_space()) {
                // Each with each release, with alternating initiators.
                if number % 2 == usize::from(initiator == Initiator::Tohub) {
                    cases.push(esp(new(algorithm.transform.to_owned()), algorithm));
                }
            }
            cases.push(in_udp_without_nat(new("strongSwan pretends a NAT".to_owned())));
        }
        cases.push(the_other_group_is_asked_for(release));
    }
    cases
}

fn group(mut case: Case, number: u16, word: &str, shown: &str) -> Case {
    case.ours.ike = isakmp("aes 256", "sha256", number);
    case.with(&[&format!("IKE=aes256-sha256-{word}")]).showing(&[&format!("DH Grp:{number},")], &[shown])
}

fn combined(mut case: Case, bits: u16, prf: &str, shown: &str) -> Case {
    let encryption = format!("encryption aes-gcm-{bits}");
    case.ours = Ours {
        ike: profile(&[&encryption, &format!("prf {prf}"), "group 19"], &["dpd 10 2 periodic"]),
        entry: WITH_PROFILE.to_owned(),
        ..Ours::default()
    };
    case.with(&[&format!("IKE=aes{bits}gcm16-prf{prf}-ecp256")]).showing(
        &[&format!("Encr: AES-GCM, keysize: {bits}"), "Hash: None"],
        &[&format!("AES_GCM_16-{bits}/PRF_{shown}")],
    )
}

fn esp(mut case: Case, algorithm: &EspTransform) -> Case {
    case.ours.transform = algorithm.transform.to_owned();
    case.with(&[&format!("ESP={}", algorithm.strongswan)])
        .showing(&[&format!("transform: {} ,", algorithm.we_show)], &[algorithm.shown])
        .playing(plays::transfer)
}

/// Both ends then send ESP in UDP.
fn in_udp_without_nat(mut case: Case) -> Case {
    case.wire = crate::case::Wire::Udp;
    case.with(&["ENCAP=yes"]).showing(&["UDP-Encaps", "NAT-T is detected"], &["-in-UDP"])
}

/// RFC 7296 §1.2: INVALID_KE_PAYLOAD names the group that the responder wants.
fn the_other_group_is_asked_for(release: lab::peer::Release) -> Case {
    let mut case = Case::new(
        "our first group is not the stranger's: INVALID_KE_PAYLOAD",
        Opposite::Namespace(release),
        Initiator::Tohub,
    )
    .with(&["IKE=aes256-sha256-ecp384"])
    .showing(&["DH Grp:20,"], &["ECP_384"]);
    case.ours.ike = profile(
        &["encryption aes-cbc-256", "integrity sha256", "prf sha256", "group 19 14 20"],
        &["dpd 10 2 periodic"],
    );
    case.ours.entry = WITH_PROFILE.to_owned();
    case
}
