//! `crypto isakmp …` and its policy mode.

use super::{ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::model::{
    AuthenticationMethod, DhGroup, DpdMode, Identity, IsakmpEncryption, IsakmpHash, IsakmpKey, IsakmpPolicy,
    Keepalive, KeyAddress, Prefix, Secret,
};
use crate::render::MASK;
use crate::tree::Args;

pub(super) const GLOBAL: &[ConfigCommand] = &[
    apply("crypto isakmp policy <priority:1-10000> /", policy),
    apply(
        "crypto isakmp key {0 <key:WORD> | 6 <key6:WORD> | <key:WORD>} {address {ipv6 <address6:X:X/N> \
         | <address:A.B.C.D> [<mask:A.B.C.D>]} | hostname <hostname:HOST-NAME>} [no-xauth] /",
        key,
    ),
    apply("crypto isakmp keepalive / <interval:10-3600> [<retry:2-60>] [periodic | on-demand]", keepalive),
    apply("crypto isakmp identity / {address | hostname | dn}", identity),
    apply("crypto isakmp enable /", enable),
    apply("crypto isakmp nat keepalive / <interval:5-3600>", nat_keepalive),
    apply("crypto isakmp invalid-spi-recovery /", invalid_spi_recovery),
    apply("crypto isakmp profile <profile:WORD>", not_version_1),
    apply("crypto keyring <keyring:WORD> [vrf <vrf:WORD>]", not_version_1),
    keep("crypto isakmp {fragmentation | default policy} /", kept),
    keep("crypto isakmp aggressive-mode disable /", kept),
    keep("crypto isakmp diagnose error / [<count:0-1000>]", kept),
];

pub(super) const POLICY: &[ConfigCommand] = &[
    apply("encryption / {des | 3des | aes [128 | 192 | 256]}", encryption),
    apply("hash / {md5 | sha | sha256 | sha384 | sha512}", hash),
    apply("authentication / {pre-share | rsa-sig | rsa-encr}", authentication),
    apply("group / {1 | 2 | 5 | 14 | 15 | 16 | 19 | 20 | 21 | 24 | 31}", group),
    apply("lifetime / <lifetime:60-86400>", lifetime),
];

fn kept<'c>(configuration: &'c mut Configuration, _: &Mode) -> Option<&'c mut Vec<String>> {
    Some(&mut configuration.isakmp.kept)
}

fn not_version_1(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Err(EditError::rule(
        "isakmp profiles and keyrings mean IKEv1, which is not implemented; use \"crypto ikev2 profile\" and \"keyring\"",
    ))
}

fn policy(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(priority) = args.small("priority") else { return Ok(()) };
    if args.negated() {
        editor.configuration.isakmp_policies.remove(&priority);
        editor.mode = Mode::Global;
    } else {
        editor.configuration.isakmp_policies.entry(priority).or_default();
        editor.mode = Mode::IsakmpPolicy(priority);
    }
    Ok(())
}

/// Runs `change` on the policy that is being edited, or on the defaults for the negated form.
fn edit(
    editor: &mut Editor<'_>,
    negated: bool,
    change: impl Fn(&mut IsakmpPolicy),
    reset: impl Fn(&mut IsakmpPolicy, IsakmpPolicy),
) -> Result<(), EditError> {
    if let Mode::IsakmpPolicy(priority) = editor.mode
        && let Some(policy) = editor.configuration.isakmp_policies.get_mut(&priority)
    {
        if negated { reset(policy, IsakmpPolicy::default()) } else { change(policy) }
    }
    Ok(())
}

fn encryption(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let bits = args.one_of(&["128", "192", "256"]).and_then(|bits| bits.parse().ok()).unwrap_or(128);
    let encryption = match args.one_of(&["des", "3des"]) {
        Some("des") => IsakmpEncryption::Des,
        Some(_) => IsakmpEncryption::TripleDes,
        None => IsakmpEncryption::Aes(bits),
    };
    edit(editor, args.negated(), |p| p.encryption = encryption, |p, d| p.encryption = d.encryption)
}

fn hash(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let hash = match args.one_of(&["md5", "sha256", "sha384", "sha512"]) {
        Some("md5") => IsakmpHash::Md5,
        Some("sha256") => IsakmpHash::Sha256,
        Some("sha384") => IsakmpHash::Sha384,
        Some(_) => IsakmpHash::Sha512,
        None => IsakmpHash::Sha1,
    };
    edit(editor, args.negated(), |p| p.hash = hash, |p, d| p.hash = d.hash)
}

fn authentication(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let method = match args.one_of(&["pre-share", "rsa-encr"]) {
        Some("pre-share") => AuthenticationMethod::PreShare,
        Some(_) => AuthenticationMethod::RsaEncr,
        None => AuthenticationMethod::RsaSig,
    };
    edit(editor, args.negated(), |p| p.authentication = method, |p, d| p.authentication = d.authentication)
}

fn group(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let group = DhGroup(args.iter().find_map(|(word, _)| word.parse().ok()).unwrap_or(1));
    edit(editor, args.negated(), |p| p.group = group, |p, d| p.group = d.group)
}

fn lifetime(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let seconds = args.small("lifetime").unwrap_or(86_400);
    edit(editor, args.negated(), |p| p.lifetime = seconds, |p, d| p.lifetime = d.lifetime)
}

fn key(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let peer = key_peer(args)?;
    let keys = &mut editor.configuration.isakmp_keys;
    let at = keys.iter().position(|key| key.peer == peer);
    if args.negated() {
        if let Some(at) = at {
            keys.remove(at);
        }
        return Ok(());
    }
    if args.text("key6").is_some() {
        return Err(EditError::rule(
            "a type 6 key can be read only by the device that made it; type the key itself",
        ));
    }
    let text = args.text("key").unwrap_or_default();
    if text == MASK {
        return Err(EditError::rule(format_args!("\"{MASK}\" stands for a hidden key; type the key itself")));
    }
    let key = IsakmpKey { key: Secret::new(text), peer, no_xauth: args.has("no-xauth") };
    match at.map(|at| &mut keys[at]) {
        None => keys.push(key),
        Some(have) if have.key == key.key => *have = key,
        Some(have) => {
            return Err(EditError(match &have.peer {
                KeyAddress::Address(Prefix { address, length }) if address.is_ipv4() => format!(
                    "A pre-shared key for address mask {address} {} already exists!",
                    Prefix::mask(*length)
                ),
                KeyAddress::Address(prefix) => {
                    format!("A pre-shared key for address {prefix} already exists!")
                }
                KeyAddress::Hostname(name) => format!("A pre-shared key for hostname {name} already exists!"),
            }));
        }
    }
    Ok(())
}

fn key_peer(args: &Args) -> Result<KeyAddress, EditError> {
    if let Some((address, length)) = args.prefix("address6") {
        return Ok(KeyAddress::Address(Prefix::v6(address, length)));
    }
    if let Some(name) = args.text("hostname") {
        return Ok(KeyAddress::Hostname(name.into()));
    }
    let address = args.ipv4("address").unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
    // Address 0.0.0.0 without a mask also means any peer.
    let all = if address.is_unspecified() { address } else { std::net::Ipv4Addr::BROADCAST };
    let mask = args.ipv4("mask").unwrap_or(all);
    match Prefix::mask_length(mask) {
        Some(length) => Ok(KeyAddress::Address(Prefix::v4(address, length))),
        None => Err(EditError(format!("Bad mask 0x{:X} for address {address}", u32::from(mask)))),
    }
}

fn keepalive(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mode = if args.has("periodic") { DpdMode::Periodic } else { DpdMode::OnDemand };
    let interval = args.small("interval").filter(|_| !args.negated());
    let retry = args.small("retry").unwrap_or(2);
    editor.configuration.isakmp.keepalive = interval.map(|interval| Keepalive { interval, retry, mode });
    Ok(())
}

fn identity(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.isakmp.identity = match args.one_of(&["hostname", "dn"]).filter(|_| !args.negated())
    {
        Some("hostname") => Identity::Fqdn(String::new()),
        Some(_) => Identity::Dn,
        None => Identity::Address(None),
    };
    Ok(())
}

fn enable(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.isakmp.enabled = args.form != crate::tree::Form::No;
    Ok(())
}

fn nat_keepalive(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.isakmp.nat_keepalive = args.small("interval").filter(|_| !args.negated());
    Ok(())
}

fn invalid_spi_recovery(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.isakmp.invalid_spi_recovery = !args.negated();
    Ok(())
}
