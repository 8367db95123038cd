//! Show commands that only need the configuration.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Configuration;
use crate::command::ShowCommand;
use crate::effective_ike::{effective_ike, effective_manual};
use crate::model::{
    EspCipher, IsakmpEncryption, IsakmpHash, IsakmpPolicy, KeyAddress, Keying, KilobyteLimit, Lifetime, Mode,
    Prefix, Profile, TransformSet,
};
use crate::render::{self, MASK, Secrets, acl_rule, running_config};

/// The output of `command` if it only needs the configuration, otherwise `None`.
pub fn from_configuration(command: &ShowCommand, configuration: &Configuration) -> Option<String> {
    Some(match command {
        ShowCommand::RunningConfig => {
            let text = running_config(configuration, Secrets::Hidden);
            format!("Building configuration...\n\nCurrent configuration : {} bytes\n{text}\n", text.len())
        }
        ShowCommand::CryptoDynamicMap(tag) => super::map::dynamic_map(configuration, tag.as_deref()),
        ShowCommand::CryptoIpsecTransformSet(name) => transform_sets(configuration, name.as_deref()),
        ShowCommand::CryptoIpsecLifetime => lifetime(configuration),
        ShowCommand::CryptoIsakmpPolicy => isakmp_policies(configuration),
        ShowCommand::CryptoIsakmpKey => isakmp_keys(configuration),
        ShowCommand::CryptoIkev2Proposal => ikev2_proposals(configuration),
        ShowCommand::CryptoIkev2Policy => ikev2_policies(configuration),
        ShowCommand::CryptoIkev2Profile => ikev2_profiles(configuration),
        ShowCommand::TohubUnsupported => unsupported(configuration),
        _ => return None,
    })
}

/// `show access-lists [N]`; `matches` counts packets by list and sequence number.
pub fn access_lists(
    configuration: &Configuration,
    name: Option<&str>,
    matches: &BTreeMap<(String, u32), u64>,
) -> String {
    let mut text = String::new();
    for (list, body) in
        configuration.access_lists.iter().filter(|(list, _)| name.is_none_or(|name| name == *list))
    {
        let _ = writeln!(text, "Extended IP access list {list}");
        for (sequence, rule) in body.rules() {
            let count = match matches.get(&(list.clone(), sequence)) {
                None | Some(0) => String::new(),
                Some(1) => " (1 match)".into(),
                Some(count) => format!(" ({count} matches)"),
            };
            let _ = writeln!(text, "    {sequence} {}{count}", acl_rule(rule));
        }
    }
    text
}

/// A transform set as the shows print it: `esp-256-aes esp-sha256-hmac`, `esp-gcm 256`.
pub(super) fn transform_text(set: &TransformSet) -> String {
    let words = render::transform_words(set);
    match set.cipher {
        Some(EspCipher::Aes(bits)) if bits != 128 => {
            words.replace(&format!("esp-aes {bits}"), &format!("esp-{bits}-aes"))
        }
        _ => words,
    }
}

fn transform_sets(configuration: &Configuration, name: Option<&str>) -> String {
    let mut text = String::new();
    for (tag, set) in
        configuration.transform_sets.iter().filter(|(tag, _)| name.is_none_or(|name| name == *tag))
    {
        let mode = if set.mode == Mode::Tunnel { "Tunnel" } else { "Transport" };
        let _ = writeln!(text, "Transform set {tag}: {{ {}  }}", transform_text(set));
        let _ = writeln!(text, "   will negotiate = {{ {mode},  }},\n");
    }
    text
}

fn lifetime(configuration: &Configuration) -> String {
    let lifetime = configuration.ipsec.lifetime;
    let seconds = lifetime.seconds.unwrap_or(Lifetime::SECONDS);
    match lifetime.kilobytes.unwrap_or(KilobyteLimit::Kilobytes(Lifetime::KILOBYTES)) {
        KilobyteLimit::Kilobytes(kilobytes) => {
            format!("Security association lifetime: {kilobytes} kilobytes/{seconds} seconds\n")
        }
        KilobyteLimit::Disabled => format!("Security association lifetime: {seconds} seconds\n"),
    }
}

fn isakmp_policies(configuration: &Configuration) -> String {
    let mut text = String::from("\nGlobal IKE policy\n");
    for (priority, policy) in &configuration.isakmp_policies {
        let _ = writeln!(text, "Protection suite of priority {priority}");
        isakmp_policy(&mut text, policy);
    }
    text
}

fn isakmp_policy(text: &mut String, policy: &IsakmpPolicy) {
    let encryption = match policy.encryption {
        IsakmpEncryption::Des => "DES - Data Encryption Standard (56 bit keys).".into(),
        IsakmpEncryption::TripleDes => "Three key triple DES".into(),
        IsakmpEncryption::Aes(bits) => format!("AES - Advanced Encryption Standard ({bits} bit keys)."),
    };
    let hash = match policy.hash {
        IsakmpHash::Md5 => "Message Digest 5",
        IsakmpHash::Sha1 => "Secure Hash Standard",
        IsakmpHash::Sha256 => "Secure Hash Standard 2 (256 bit)",
        IsakmpHash::Sha384 => "Secure Hash Standard 2 (384 bit)",
        IsakmpHash::Sha512 => "Secure Hash Standard 2 (512 bit)",
    };
    let method = match render::method(policy.authentication) {
        "pre-share" => "Pre-Shared Key",
        "rsa-encr" => "Rivest-Shamir-Adleman Encryption",
        _ => "Rivest-Shamir-Adleman Signature",
    };
    let bits = match policy.group.0 {
        1 => "768 bit",
        2 => "1024 bit",
        5 => "1536 bit",
        14 | 24 => "2048 bit",
        15 => "3072 bit",
        16 => "4096 bit",
        19 | 31 => "256 bit",
        20 => "384 bit",
        _ => "521 bit",
    };
    let _ = writeln!(text, "\tencryption algorithm:\t{encryption}\n\thash algorithm:\t\t{hash}");
    let _ = writeln!(text, "\tauthentication method:\t{method}");
    let _ = writeln!(text, "\tDiffie-Hellman group:\t#{} ({bits})", policy.group.0);
    let _ = writeln!(text, "\tlifetime:\t\t{} seconds, no volume limit", policy.lifetime);
}

fn isakmp_keys(configuration: &Configuration) -> String {
    let mut text = String::from("Keyring      Hostname/Address                            Preshared Key\n\n");
    for (index, key) in configuration.isakmp_keys.iter().enumerate() {
        let ring = if index == 0 { "default" } else { "" };
        let peer = match &key.peer {
            KeyAddress::Hostname(name) => name.clone(),
            KeyAddress::Address(Prefix { address, length }) if address.is_ipv4() && *length != 32 => {
                format!("{address} [{}]", Prefix::mask(*length))
            }
            KeyAddress::Address(prefix) if prefix.address.is_ipv4() => prefix.address.to_string(),
            KeyAddress::Address(prefix) => prefix.to_string(),
        };
        let _ = writeln!(text, "{ring:<13}{peer:<44}{MASK}");
    }
    text
}

fn ikev2_proposals(configuration: &Configuration) -> String {
    let mut text = String::from(concat!(
        " IKEv2 proposal: default \n",
        "     Encryption : AES-GCM-256 AES-GCM-128 AES-CBC-256\n",
        "     Integrity  : SHA256\n",
        "     PRF        : SHA384 SHA256\n",
        "     DH Group   : DH_GROUP_256_ECP/Group 19 DH_GROUP_384_ECP/Group 20 Curve25519/Group 31 DH_GROUP_2048_MODP/Group 14\n",
    ));
    for (name, proposal) in &configuration.ikev2_proposals {
        let words = |list: Vec<String>| list.join(" ").to_uppercase();
        let encryption = words(proposal.encryption.iter().map(|e| render::encryption_word(*e)).collect());
        let integrity = words(proposal.integrity.iter().map(|h| render::hash_word(*h).into()).collect());
        let prf = if proposal.prf.is_empty() { &proposal.integrity } else { &proposal.prf };
        let prf = words(prf.iter().map(|h| render::hash_word(*h).into()).collect());
        let groups: Vec<String> = proposal.groups.iter().map(|g| group_text(g.0)).collect();
        let integrity = if integrity.is_empty() { "none".into() } else { integrity };
        let _ = writeln!(
            text,
            " IKEv2 proposal: {name} \n     Encryption : {encryption}\n     Integrity  : {integrity}"
        );
        let _ = writeln!(text, "     PRF        : {prf}\n     DH Group   : {}", groups.join(" "));
    }
    text
}

fn group_text(group: u16) -> String {
    match group {
        31 => "Curve25519/Group 31".into(),
        19..=21 => {
            let bits = [256, 384, 521][usize::from(group - 19)];
            format!("DH_GROUP_{bits}_ECP/Group {group}")
        }
        _ => {
            let bits = match group {
                1 => 768,
                2 => 1024,
                5 => 1536,
                14 | 24 => 2048,
                15 => 3072,
                _ => 4096,
            };
            format!("DH_GROUP_{bits}_MODP/Group {group}")
        }
    }
}

fn ikev2_policies(configuration: &Configuration) -> String {
    let mut text = String::from(
        " IKEv2 policy : default\n      Match fvrf : any\n      Match address local : any\n      Proposal    : default \n",
    );
    for (name, policy) in &configuration.ikev2_policies {
        let _ = writeln!(
            text,
            " IKEv2 policy : {name}\n      Match fvrf : {}",
            policy.fvrf.as_deref().unwrap_or("global")
        );
        if policy.local_addresses.is_empty() {
            text.push_str("      Match address local : any\n");
        }
        for address in &policy.local_addresses {
            let _ = writeln!(text, "      Match address local : {address}");
        }
        for proposal in &policy.proposals {
            let _ = writeln!(text, "      Proposal    : {proposal} ");
        }
    }
    text
}

fn ikev2_profiles(configuration: &Configuration) -> String {
    let mut text = String::new();
    for (name, profile) in &configuration.ikev2_profiles {
        let _ = writeln!(text, "IKEv2 profile: {name}");
        let local = profile.local_authentication.map_or("none", render::method);
        let remote: Vec<&str> = profile.remote_authentication.iter().map(|m| render::method(*m)).collect();
        let remote = if remote.is_empty() { "none".into() } else { remote.join(", ") };
        let _ = writeln!(text, "  Local auth method: {local}\n  Remote auth method(s): {remote}");
        let _ = writeln!(text, "  Keyring: {}", profile.keyring.as_deref().unwrap_or("none"));
        let _ = writeln!(text, "  Lifetime: {} seconds", profile.lifetime.unwrap_or(86_400));
        let _ = match profile.dpd.or(configuration.ikev2.dpd) {
            Some(dpd) => writeln!(text, "  DPD: interval {}, retry {}", dpd.interval, dpd.retry),
            None => writeln!(text, "  DPD: disabled"),
        };
    }
    if text.is_empty() { "No IKEv2 profiles configured\n".into() } else { text }
}

/// `show tohub unsupported`: lines without an effect, and unusable entries.
fn unsupported(configuration: &Configuration) -> String {
    let mut text = String::new();
    let mut kept = |place: &str, lines: &[String]| {
        for line in lines {
            let _ = writeln!(text, "{place}: \"{line}\" is kept and has no effect");
        }
    };
    kept("global", &configuration.isakmp.kept);
    kept("global", &configuration.ikev2.kept);
    kept("global", &configuration.ipsec.kept);
    if let Some(window) = configuration.ikev2.window.filter(|window| *window > 1) {
        kept("global (one request is in flight at a time)", &[format!("crypto ikev2 window {window}")]);
    }
    kept("global", &configuration.system.service);
    kept("global", &configuration.system.kept);
    for (name, line) in &configuration.system.lines {
        kept(&format!("line {name}"), &line.kept);
    }
    for (name, interface) in &configuration.interfaces {
        kept(&format!("interface {name}"), &interface.kept);
    }
    for (name, profile) in &configuration.ikev2_profiles {
        kept(&format!("ikev2 profile {name}"), &profile.kept);
    }
    let vrf = |vrf: &Option<String>| {
        let named = vrf.as_deref().filter(|vrf| *vrf != "any");
        named.map(|vrf| format!("match fvrf {vrf}")).into_iter().collect::<Vec<_>>()
    };
    for (name, profile) in &configuration.ikev2_profiles {
        kept(&format!("ikev2 profile {name}"), &vrf(&profile.fvrf));
    }
    for (name, policy) in &configuration.ikev2_policies {
        kept(&format!("ikev2 policy {name}"), &vrf(&policy.fvrf));
    }
    for (name, trustpoint) in &configuration.trustpoints {
        kept(&format!("trustpoint {name}"), &trustpoint.kept);
    }
    for (name, map) in &configuration.crypto_maps {
        kept(&format!("crypto map {name}"), &map.kept);
        for (seq, entry) in &map.entries {
            let place = format!("crypto map {name} {seq}");
            if let Keying::Dynamic { discover: true, .. } = &entry.keying {
                kept(&place, &["discover".to_owned()]);
            }
            if let Some(profile) = &entry.template_profile {
                kept(&place, &[format!("profile {profile}")]);
            }
            kept(&place, &entry.body.kept);
        }
    }
    for (name, map) in &configuration.dynamic_maps {
        for (seq, body) in &map.entries {
            kept(&format!("crypto dynamic-map {name} {seq}"), &body.kept);
        }
    }
    for (name, map) in &configuration.crypto_maps {
        for (seq, entry) in &map.entries {
            if entry.keying == Keying::Manual {
                if let Err(refusal) = effective_manual(configuration, name, *seq, entry) {
                    let _ = writeln!(text, "{refusal}");
                }
            } else if let Err(refusal) = effective_ike(configuration, name, *seq, entry) {
                let _ = writeln!(text, "{refusal}");
            } else if !matches!(entry.body.profile, Some(Profile::Ikev2(_))) {
                let _ = writeln!(text, "{}", crate::commit::no_profile_note(name, *seq));
            }
        }
    }
    if text.is_empty() { "Everything that is configured has its effect\n".into() } else { text }
}
