//! `crypto ikev2 …` and its modes.

use super::{ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::model::{
    AdditionalExchange, AdditionalMethod, AuthenticationMethod, DhGroup, DpdMode, Identity, Ikev2Dpd,
    Ikev2Encryption, Ikev2Hash, Ikev2Policy, Ikev2Profile, Ikev2Proposal, KeyringPeer, KeyringPpk,
    Negotiations, Prefix, ProfileTrustpoint, RemoteIdentity, Secret,
};
use crate::render::MASK;
use crate::tree::Args;

pub(super) const GLOBAL: &[ConfigCommand] = &[
    apply("crypto ikev2 proposal <name:WORD> /", proposal),
    apply("crypto ikev2 policy <name:WORD> /", policy),
    apply("crypto ikev2 keyring <name:WORD> /", keyring),
    apply("crypto ikev2 profile <name:WORD> /", profile),
    apply("crypto ikev2 dpd / <interval:10-3600> <retry:2-60> {on-demand | periodic}", global_dpd),
    apply("crypto ikev2 nat keepalive / <interval:5-3600>", nat_keepalive),
    apply("crypto ikev2 cookie-challenge / <count:0-1000>", cookie_challenge),
    apply("crypto ikev2 fragmentation / [mtu <mtu:68-1500>]", fragmentation),
    apply("crypto ikev2 redirect client / [max-redirects <redirects:1-255>]", redirect),
    apply("crypto ikev2 window / <size:1-200>", window),
    apply("crypto ikev2 limit max-sa / <count:1-120000>", max_sa),
    apply(
        "crypto ikev2 limit max-in-negotation-sa / <count:1-120000> [incoming | outgoing]",
        max_in_negotiation,
    ),
    keep("crypto ikev2 diagnose error / [<count:1-1000>]", kept_globally),
    keep("crypto ikev2 http-url cert /", kept_globally),
];

pub(super) const PROPOSAL: &[ConfigCommand] = &[
    apply(
        "encryption / {des | 3des | aes-cbc-128 | aes-cbc-192 | aes-cbc-256 | aes-gcm-128 | aes-gcm-256}*7",
        encryption,
    ),
    apply("integrity / {md5 | sha1 | sha256 | sha384 | sha512}*5", integrity),
    apply("prf / {md5 | sha1 | sha256 | sha384 | sha512}*5", prf),
    apply("group / {1 | 2 | 5 | 14 | 15 | 16 | 19 | 20 | 21 | 24 | 31}*11", group),
    apply("additional-key-exchange <number:1-7> / mlkem768 [optional]", additional),
];

pub(super) const POLICY: &[ConfigCommand] = &[
    apply("match fvrf / {any | <vrf:WORD>}", policy_fvrf),
    apply("match address local / <address:IP>", policy_address),
    apply("proposal / <proposal:WORD>", policy_proposal),
];

pub(super) const KEYRING: &[ConfigCommand] = &[apply("peer <peer:WORD> /", keyring_peer)];

pub(super) const KEYRING_PEER: &[ConfigCommand] = &[
    apply("description / <text:LINE>", peer_description),
    apply("address / {<address:A.B.C.D> [<mask:A.B.C.D>] | <address6:X:X/N>}", peer_address),
    apply("hostname / <hostname:HOST-NAME>", peer_hostname),
    apply(
        "identity / {address <address:IP> | fqdn <text:WORD> | email <text:WORD> | key-id <text:WORD>}",
        peer_identity,
    ),
    apply(
        "pre-shared-key / [local | remote] {0 <key:WORD> | 6 <key6:WORD> | hex <hex:HEX> | <key:WORD>}",
        peer_key,
    ),
    apply(
        "ppk manual / id <ppk-id:WORD> key {0 <key:WORD> | 6 <key6:WORD> | hex <hex:HEX> | <key:WORD>} [required]",
        peer_ppk,
    ),
];

pub(super) const PROFILE: &[ConfigCommand] = &[
    apply("description / <text:LINE>", description),
    apply("match fvrf / {any | <vrf:WORD>}", fvrf),
    apply("match address local / <address:IP>", local_address),
    apply(
        "match identity remote / {any | address {<address:A.B.C.D> [<mask:A.B.C.D>] | <address6:X:X/N>} \
         | fqdn [domain] <text:WORD> | email <text:WORD> | key-id <text:WORD> | dn <text:LINE>}",
        remote_identity,
    ),
    apply(
        "identity local / {address <address:IP> | fqdn <text:WORD> | email <text:WORD> | key-id <text:WORD> | dn}",
        local_identity,
    ),
    apply("authentication local / {pre-share | rsa-sig | ecdsa-sig | eap}", local_authentication),
    apply("authentication remote / {pre-share | rsa-sig | ecdsa-sig | eap}", remote_authentication),
    apply("keyring local / <keyring:WORD>", profile_keyring),
    apply("lifetime / <lifetime:120-86400>", lifetime),
    apply("dpd / <interval:10-3600> <retry:2-60> {on-demand | periodic}", dpd),
    apply("nat keepalive / <interval:5-3600>", profile_nat_keepalive),
    apply("initial-contact force /", initial_contact),
    keep("config-exchange / <text:LINE>", kept),
    apply("pki trustpoint / <trustpoint:WORD> [sign | verify]", profile_trustpoint),
    keep("{ivrf | virtual-template | aaa | reconnect} / <text:LINE>", kept),
];

fn kept_globally<'c>(configuration: &'c mut Configuration, _: &Mode) -> Option<&'c mut Vec<String>> {
    Some(&mut configuration.ikev2.kept)
}

fn kept<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut Vec<String>> {
    match mode {
        Mode::Ikev2Profile(name) => {
            configuration.ikev2_profiles.get_mut(name).map(|profile| &mut profile.kept)
        }
        _ => None,
    }
}

/// Enters the mode of a named object, creating it, or removes it.
macro_rules! object {
    ($function:ident, $field:ident, $mode:ident) => {
        fn $function(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
            let Some(name) = args.text("name") else { return Ok(()) };
            if args.negated() {
                editor.configuration.$field.remove(name);
                editor.mode = Mode::Global;
            } else {
                editor.configuration.$field.entry(name.into()).or_default();
                editor.mode = Mode::$mode(name.into());
            }
            Ok(())
        }
    };
}

object!(proposal, ikev2_proposals, Ikev2Proposal);
object!(policy, ikev2_policies, Ikev2Policy);
object!(keyring, ikev2_keyrings, Ikev2Keyring);
object!(profile, ikev2_profiles, Ikev2Profile);

fn parse_dpd(args: &Args) -> Option<Ikev2Dpd> {
    let mode = if args.has("periodic") { DpdMode::Periodic } else { DpdMode::OnDemand };
    let (interval, retry) = (args.small("interval")?, args.small("retry")?);
    (!args.negated()).then_some(Ikev2Dpd { interval, retry, mode })
}

fn global_dpd(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.dpd = parse_dpd(args);
    Ok(())
}

fn nat_keepalive(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.nat_keepalive = args.small("interval").filter(|_| !args.negated());
    Ok(())
}

fn cookie_challenge(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.cookie_challenge = args.small("count").filter(|_| !args.negated());
    Ok(())
}

fn fragmentation(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.fragmentation = (!args.negated()).then_some(args.small("mtu").unwrap_or(576));
    Ok(())
}

fn redirect(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let count = args.small("redirects").unwrap_or(5);
    editor.configuration.ikev2.max_redirects = (!args.negated()).then_some(count);
    Ok(())
}

fn window(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.window = args.small("size").filter(|_| !args.negated());
    Ok(())
}

fn max_sa(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ikev2.limits.max_sa = args.small("count").filter(|_| !args.negated());
    Ok(())
}

fn max_in_negotiation(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let which = match args.one_of(&["incoming", "outgoing"]) {
        Some("incoming") => Negotiations::Incoming,
        Some(_) => Negotiations::Outgoing,
        None => Negotiations::All,
    };
    let limit = args.small("count").filter(|_| !args.negated()).map(|count| (count, which));
    editor.configuration.ikev2.limits.max_in_negotiation = limit;
    Ok(())
}

fn edit_proposal(editor: &mut Editor<'_>, change: impl FnOnce(&mut Ikev2Proposal)) -> Result<(), EditError> {
    let Mode::Ikev2Proposal(name) = &editor.mode else { return Ok(()) };
    let Some(proposal) = editor.configuration.ikev2_proposals.get_mut(name) else { return Ok(()) };
    change(proposal);
    let combined = proposal.encryption.iter().any(|e| matches!(e, Ikev2Encryption::AesGcm(_)));
    if combined && !proposal.integrity.is_empty() {
        return Err(EditError::rule(
            "aes-gcm carries its own integrity; leave \"integrity\" out and give a \"prf\"",
        ));
    }
    Ok(())
}

fn encryption(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mut list = Vec::new();
    for (word, _) in args.iter().skip(1) {
        let encryption = match word.rsplit_once('-').map(|(name, bits)| (name, bits.parse().unwrap_or(128))) {
            Some(("aes-cbc", bits)) => Ikev2Encryption::AesCbc(bits),
            Some((_, bits)) => Ikev2Encryption::AesGcm(bits),
            None if word == "3des" => Ikev2Encryption::TripleDes,
            None => Ikev2Encryption::Des,
        };
        push_once(&mut list, encryption);
    }
    let combined = |e: &Ikev2Encryption| matches!(e, Ikev2Encryption::AesGcm(_));
    if list.iter().any(combined) && !list.iter().all(combined) && !args.negated() {
        return Err(EditError::rule("aes-gcm and other ciphers cannot share a proposal; make two proposals"));
    }
    let list = if args.negated() { Vec::new() } else { list };
    edit_proposal(editor, |proposal| proposal.encryption = list)
}

fn hashes(args: &Args) -> Vec<Ikev2Hash> {
    let mut list = Vec::new();
    for (word, _) in args.iter().skip(1).filter(|_| !args.negated()) {
        push_once(
            &mut list,
            match word {
                "md5" => Ikev2Hash::Md5,
                "sha1" => Ikev2Hash::Sha1,
                "sha256" => Ikev2Hash::Sha256,
                "sha384" => Ikev2Hash::Sha384,
                _ => Ikev2Hash::Sha512,
            },
        );
    }
    list
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn integrity(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let list = hashes(args);
    edit_proposal(editor, |proposal| proposal.integrity = list)
}

fn prf(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let list = hashes(args);
    edit_proposal(editor, |proposal| proposal.prf = list)
}

fn group(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mut list = Vec::new();
    for number in args.iter().filter_map(|(word, _)| word.parse().ok()).filter(|_| !args.negated()) {
        push_once(&mut list, DhGroup(number));
    }
    edit_proposal(editor, |proposal| proposal.groups = list)
}

fn additional(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(number) = args.small("number") else { return Ok(()) };
    let methods = vec![AdditionalMethod::MlKem768];
    let exchange = AdditionalExchange { number, methods, optional: args.has("optional") };
    edit_proposal(editor, |proposal| {
        proposal.additional.retain(|known| known.number != number);
        if !args.negated() {
            proposal.additional.push(exchange);
        }
        proposal.additional.sort_by_key(|exchange| exchange.number);
    })?;
    let Mode::Ikev2Proposal(name) = &editor.mode else { return Ok(()) };
    let count =
        editor.configuration.ikev2_proposals.get(name).map_or(0, |proposal| proposal.additional.len());
    if count > 1 {
        return Err(EditError::rule(
            "a key exchange method is used once (RFC 9370); type \"no additional-key-exchange N\" for the other one first",
        ));
    }
    Ok(())
}

fn edit_policy(editor: &mut Editor<'_>, change: impl FnOnce(&mut Ikev2Policy)) -> Result<(), EditError> {
    if let Mode::Ikev2Policy(name) = &editor.mode
        && let Some(policy) = editor.configuration.ikev2_policies.get_mut(name)
    {
        change(policy);
    }
    Ok(())
}

fn vrf(args: &Args) -> Option<String> {
    let name = if args.has("any") { Some("any") } else { args.text("vrf") };
    name.filter(|_| !args.negated()).map(String::from)
}

fn policy_fvrf(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let vrf = vrf(args);
    edit_policy(editor, |policy| policy.fvrf = vrf)
}

/// Adds to a list, or removes one element or all.
fn add_or_remove<T: PartialEq>(list: &mut Vec<T>, item: Option<T>, remove: bool) {
    match (remove, item) {
        (true, None) => list.clear(),
        (true, Some(item)) => list.retain(|have| *have != item),
        (false, Some(item)) => push_once(list, item),
        (false, None) => {}
    }
}

fn policy_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_policy(editor, |policy| {
        add_or_remove(&mut policy.local_addresses, args.address("address"), args.negated());
    })
}

fn policy_proposal(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_policy(editor, |policy| {
        add_or_remove(&mut policy.proposals, args.text("proposal").map(String::from), args.negated());
    })
}

fn keyring_peer(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (Mode::Ikev2Keyring(name), Some(peer)) = (editor.mode.clone(), args.text("peer")) else {
        return Ok(());
    };
    let Some(keyring) = editor.configuration.ikev2_keyrings.get_mut(&name) else { return Ok(()) };
    if args.negated() {
        keyring.peers.remove(peer);
    } else {
        keyring.peers.entry(peer.into()).or_default();
        editor.mode = Mode::Ikev2KeyringPeer(name, peer.into());
    }
    Ok(())
}

fn edit_peer(editor: &mut Editor<'_>, change: impl FnOnce(&mut KeyringPeer)) -> Result<(), EditError> {
    if let Mode::Ikev2KeyringPeer(name, peer) = &editor.mode {
        let keyring = editor.configuration.ikev2_keyrings.get_mut(name);
        if let Some(peer) = keyring.and_then(|keyring| keyring.peers.get_mut(peer)) {
            change(peer);
        }
    }
    Ok(())
}

fn peer_description(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_peer(editor, |peer| {
        peer.description = args.text("text").filter(|_| !args.negated()).map(String::from)
    })
}

/// `address A [mask]` or an IPv6 prefix.
fn parse_prefix(args: &Args) -> Result<Option<Prefix>, EditError> {
    if let Some((address, length)) = args.prefix("address6") {
        return Ok(Some(Prefix::v6(address, length)));
    }
    let Some(address) = args.ipv4("address") else { return Ok(None) };
    let mask = args.ipv4("mask").unwrap_or(std::net::Ipv4Addr::BROADCAST);
    match Prefix::mask_length(mask) {
        Some(length) => Ok(Some(Prefix::v4(address, length))),
        None => Err(EditError(format!("Bad mask 0x{:X} for address {address}", u32::from(mask)))),
    }
}

fn peer_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let prefix = parse_prefix(args)?.filter(|_| !args.negated());
    edit_peer(editor, |peer| peer.address = prefix)
}

fn peer_hostname(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_peer(editor, |peer| {
        peer.hostname = args.text("hostname").filter(|_| !args.negated()).map(String::from)
    })
}

fn parse_identity(args: &Args) -> Option<Identity> {
    if args.negated() {
        return None;
    }
    let text = args.text("text").map(String::from);
    match args.one_of(&["fqdn", "email", "key-id", "dn"]) {
        Some("fqdn") => text.map(Identity::Fqdn),
        Some("email") => text.map(Identity::Email),
        Some("key-id") => text.map(Identity::KeyId),
        Some(_) => Some(Identity::Dn),
        None => Some(Identity::Address(args.address("address"))),
    }
}

fn peer_identity(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_peer(editor, |peer| peer.identity = parse_identity(args))
}

/// The text of a key and whether it is hexadecimal; nothing for the `no` form.
fn key_text(args: &Args) -> Result<(Option<&str>, bool), EditError> {
    if args.text("key6").is_some() && !args.negated() {
        return Err(EditError::rule(
            "a type 6 key can be read only by the device that made it; type the key itself",
        ));
    }
    let text = args.text("hex").or(args.text("key")).filter(|_| !args.negated());
    if text == Some(MASK) {
        return Err(EditError::rule(format_args!("\"{MASK}\" stands for a hidden key; type the key itself")));
    }
    let hex = args.text("hex").is_some();
    if hex && text.is_some_and(|text| text.len() % 2 == 1) {
        return Err(EditError::rule("a hexadecimal key has an even number of digits"));
    }
    Ok((text, hex))
}

fn peer_ppk(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (text, hex) = key_text(args)?;
    let ppk = args.text("ppk-id").zip(text).map(|(id, text)| KeyringPpk {
        id: id.into(),
        key: Secret::new(text),
        hex,
        required: args.has("required"),
    });
    edit_peer(editor, |peer| peer.ppk = ppk)
}

fn peer_key(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (text, hex) = key_text(args)?;
    edit_peer(editor, |peer| {
        let key = &mut peer.key;
        let (local, remote) = (args.has("local"), args.has("remote"));
        // A peer's keys have one format: a key in the other format replaces both directions.
        if hex != key.hex {
            (key.local, key.remote) = (None, None);
        }
        key.hex = hex;
        if !remote {
            key.local = text.map(Secret::new);
        }
        if !local {
            key.remote = text.map(Secret::new);
        }
    })
}

fn edit_profile(editor: &mut Editor<'_>, change: impl FnOnce(&mut Ikev2Profile)) -> Result<(), EditError> {
    if let Mode::Ikev2Profile(name) = &editor.mode
        && let Some(profile) = editor.configuration.ikev2_profiles.get_mut(name)
    {
        change(profile);
    }
    Ok(())
}

fn description(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| {
        profile.description = args.text("text").filter(|_| !args.negated()).map(String::from);
    })
}

fn fvrf(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.fvrf = vrf(args))
}

fn local_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| {
        add_or_remove(&mut profile.local_addresses, args.address("address"), args.negated());
    })
}

fn remote_identity(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let text = args.text("text").map(String::from);
    let identity = match args.one_of(&["any", "domain", "fqdn", "email", "key-id", "dn"]) {
        Some("any") => Some(RemoteIdentity::Any),
        Some("domain") => text.map(RemoteIdentity::FqdnDomain),
        Some("fqdn") => text.map(RemoteIdentity::Fqdn),
        Some("email") => text.map(RemoteIdentity::Email),
        Some("dn") => text.map(RemoteIdentity::Dn),
        Some(_) => text.map(RemoteIdentity::KeyId),
        None => parse_prefix(args)?.map(RemoteIdentity::Address),
    };
    if let Some(RemoteIdentity::Dn(name)) = &identity
        && !name.contains('=')
        && !args.negated()
    {
        return Err(EditError::rule("a distinguished name is written as CN=gateway,O=Example"));
    }
    edit_profile(editor, |profile| add_or_remove(&mut profile.remote_identities, identity, args.negated()))
}

fn local_identity(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.local_identity = parse_identity(args))
}

fn method(args: &Args) -> Option<AuthenticationMethod> {
    Some(match args.one_of(&["pre-share", "rsa-sig", "ecdsa-sig", "eap"])? {
        "pre-share" => AuthenticationMethod::PreShare,
        "rsa-sig" => AuthenticationMethod::RsaSig,
        "ecdsa-sig" => AuthenticationMethod::EcdsaSig,
        _ => AuthenticationMethod::Eap,
    })
}

fn local_authentication(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.local_authentication = method(args).filter(|_| !args.negated()))
}

fn remote_authentication(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| {
        add_or_remove(&mut profile.remote_authentication, method(args), args.negated());
    })
}

fn profile_keyring(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| {
        profile.keyring = args.text("keyring").filter(|_| !args.negated()).map(String::from);
    })
}

fn profile_trustpoint(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let name = args.text("trustpoint").map(String::from);
    let (sign, verify) = (!args.has("verify"), !args.has("sign"));
    edit_profile(editor, |profile| match (args.negated(), name) {
        (true, None) => profile.trustpoints.clear(),
        (_, Some(name)) => {
            let position = profile.trustpoints.iter().position(|have| have.name == name);
            match (position, args.negated()) {
                (Some(position), true) => drop(profile.trustpoints.remove(position)),
                (Some(position), false) => {
                    profile.trustpoints[position] = ProfileTrustpoint { name, sign, verify };
                }
                (None, true) => {}
                (None, false) => profile.trustpoints.push(ProfileTrustpoint { name, sign, verify }),
            }
        }
        (false, None) => {}
    })
}

fn lifetime(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.lifetime = args.small("lifetime").filter(|_| !args.negated()))
}

fn dpd(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.dpd = parse_dpd(args))
}

fn profile_nat_keepalive(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.nat_keepalive = args.small("interval").filter(|_| !args.negated()))
}

fn initial_contact(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_profile(editor, |profile| profile.initial_contact_force = !args.negated())
}
