//! Global `crypto map`, `crypto dynamic-map`, `crypto ipsec`, `crypto logging` and `crypto ike`
//! lines.

use super::crypto_map::{parse_lifetime, parse_replay, warn_low_lifetime};
use super::{ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::model::{
    CryptoMapEntry, DfBit, EntryBody, EspCipher, EspMac, IsakmpGlobals, Keying, TransformSet,
};
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply(
        "crypto map <map:WORD> / <seq:1-65535> [ipsec-isakmp [dynamic <dynamic:WORD>] [discover] \
         [profile <profile:WORD>] | ipsec-manual]",
        crypto_map,
    ),
    apply("crypto map <map:WORD> local-address / <interface:INTERFACE>", local_address),
    apply("crypto map <map:WORD> fail-close /", fail_close),
    apply("crypto map <map:WORD> {client | isakmp | isakmp-profile | redundancy} / <text:LINE>", kept_of_map),
    apply("crypto map <map:WORD> gdoi <text:LINE>", gdoi),
    apply("crypto map ipv6 <map:WORD> <seq:1-65535> [ipsec-isakmp | ipsec-manual]", ipv6_map),
    apply("crypto dynamic-map <map:WORD> / <seq:1-65535>", dynamic_map),
    apply(
        "crypto ipsec transform-set <tag:WORD> / {ah-md5-hmac | ah-sha-hmac | ah-sha256-hmac | ah-sha384-hmac \
         | ah-sha512-hmac | esp-des | esp-3des | esp-aes [128 | 192 | 256] | esp-gcm [128 | 192 | 256] \
         | esp-gmac [128 | 192 | 256] | esp-chacha20-poly1305 | esp-null | esp-seal | esp-md5-hmac | esp-sha-hmac | esp-sha256-hmac \
         | esp-sha384-hmac | esp-sha512-hmac | comp-lzs}*4",
        transform_set,
    ),
    apply(
        "crypto ipsec security-association lifetime / {seconds <seconds:120-86400> \
         | kilobytes {disable | <kilobytes:2560-4294967295>} | days <days:1-1>}",
        lifetime,
    ),
    apply("crypto ipsec security-association {idle-time | =idletime} / <seconds:60-86400>", idle_time),
    apply(
        "crypto ipsec security-association replay / {disable | window-size {64 | 128 | 256 | 512 | 1024}}",
        replay,
    ),
    apply("crypto ipsec df-bit / {clear | set | copy}", df_bit),
    apply("crypto ipsec fragmentation / {before-encryption | after-encryption}", fragmentation),
    apply("crypto ipsec profile <profile:WORD>", ipsec_profile),
    apply("crypto logging session /", logging_session),
    apply("crypto logging ikev2 /", logging_ikev2),
    apply("crypto ike default-version / {1 | 2}", default_version),
    apply("crypto ike give-up / <seconds:5-600>", give_up),
    keep("crypto logging ezvpn / [group <group:WORD>]", kept),
    keep("crypto ipsec nat-transparency / {udp-encapsulation | spi-matching}", kept),
    keep("crypto ipsec optional / [retry <seconds:60-86400>]", kept),
    keep("crypto ipsec security-association {multi-sn | dummy | ecn} / [<text:LINE>]", kept),
    keep("crypto ipsec ipv4-deny / {clear | drop | jump}", kept),
    keep("crypto {engine | call | pki} / <text:LINE>", kept),
];

fn kept<'c>(configuration: &'c mut Configuration, _: &Mode) -> Option<&'c mut Vec<String>> {
    Some(&mut configuration.ipsec.kept)
}

fn crypto_map(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("map") else { return Ok(()) };
    let seq: Option<u16> = args.small("seq");
    if args.negated() {
        return remove_map(editor, name, seq);
    }
    let Some(seq) = seq else { return Ok(()) };
    let asked = match (args.has("ipsec-manual"), args.has("ipsec-isakmp"), args.text("dynamic")) {
        (true, ..) => Some(Keying::Manual),
        (_, _, Some(map)) => Some(Keying::Dynamic { map: map.into(), discover: args.has("discover") }),
        (_, true, None) => Some(Keying::Isakmp),
        _ => None,
    };
    let existing = editor.configuration.crypto_maps.get_mut(name).and_then(|map| map.entries.get_mut(&seq));
    match (existing, asked) {
        (Some(_), None) => {}
        (Some(entry), Some(asked)) => {
            if std::mem::discriminant(&entry.keying) != std::mem::discriminant(&asked) {
                return Err(EditError::rule(format_args!(
                    "crypto map \"{name}\" {seq} exists with a different keying method; type \"no crypto map {name} \
                     {seq}\" first"
                )));
            }
            entry.keying = asked;
            if let Some(profile) = args.text("profile") {
                entry.template_profile = Some(profile.into());
            }
        }
        (None, None) => return Err(EditError("% Incomplete command.".into())),
        (None, Some(keying)) => {
            if matches!(keying, Keying::Isakmp) {
                editor.interactive_notice(
                    "% NOTE: This new crypto map will remain disabled until a peer\n        and a valid access list have \
                     been configured.",
                );
                editor.interactive_notice(crate::commit::no_profile_note(name, seq));
            }
            let template_profile = args.text("profile").map(String::from);
            let entry = CryptoMapEntry { keying, template_profile, body: EntryBody::default() };
            editor.configuration.crypto_maps.entry(name.into()).or_default().entries.insert(seq, entry);
        }
    }
    editor.mode = Mode::CryptoMap(name.into(), seq);
    Ok(())
}

fn remove_map(editor: &mut Editor<'_>, name: &str, seq: Option<u16>) -> Result<(), EditError> {
    let users: Vec<String> = editor.configuration.interfaces_using(name).map(ToString::to_string).collect();
    if seq.is_none() && !users.is_empty() && editor.configuration.crypto_maps.contains_key(name) {
        // The traffic that it protects would leave in clear at once.
        return Err(EditError(format!(
            "% Crypto-map {name} is in use by interface(s): {}.\n% Please remove the crypto map from the above \
             interface(s) first",
            users.join(", ")
        )));
    }
    let maps = &mut editor.configuration.crypto_maps;
    let found = match (seq, maps.get_mut(name)) {
        (None, found) => found.is_some(),
        (Some(seq), Some(map)) => map.entries.remove(&seq).is_some(),
        (Some(_), None) => false,
    };
    if seq.is_none() || maps.get(name).is_some_and(|map| *map == Default::default()) {
        maps.remove(name);
    }
    editor.mode = Mode::Global;
    match (found, seq) {
        (true, _) => Ok(()),
        (false, None) => Err(EditError(format!("Could not find crypto map {name}"))),
        (false, Some(seq)) => Err(EditError(format!("Could not find crypto map entry {name} {seq}"))),
    }
}

fn local_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("map") else { return Ok(()) };
    let maps = &mut editor.configuration.crypto_maps;
    if !args.negated() {
        maps.entry(name.into()).or_default().local_address = args.interface("interface").cloned();
    } else if let Some(map) = maps.get_mut(name) {
        map.local_address = None;
        if *map == Default::default() {
            maps.remove(name);
        }
    }
    Ok(())
}

fn fail_close(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("map") else { return Ok(()) };
    let maps = &mut editor.configuration.crypto_maps;
    if !args.negated() {
        maps.entry(name.into()).or_default().fail_close = true;
    } else if let Some(map) = maps.get_mut(name) {
        map.fail_close = false;
        if *map == Default::default() {
            maps.remove(name);
        }
    }
    Ok(())
}

fn kept_of_map(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("map") else { return Ok(()) };
    let line = args.canonical();
    let line = line.trim_start_matches("crypto map ").trim_start_matches(name).trim_start().to_string();
    let maps = &mut editor.configuration.crypto_maps;
    if !args.negated() {
        let map = maps.entry(name.into()).or_default();
        if !map.kept.contains(&line) {
            map.kept.push(line);
        }
    } else if let Some(map) = maps.get_mut(name) {
        map.kept.retain(|kept| *kept != line && !kept.starts_with(&format!("{line} ")));
        if *map == Default::default() {
            maps.remove(name);
        }
    }
    Ok(())
}

fn gdoi(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Err(EditError::rule("group keying (gdoi) is not implemented; use \"ipsec-isakmp\" entries"))
}

fn ipv6_map(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Err(EditError::rule(
        "crypto maps for IPv6 traffic are not implemented; use \"crypto map M S ipsec-isakmp\"",
    ))
}

fn ipsec_profile(_: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    Err(EditError::rule("tunnel protection profiles are not implemented; use a crypto map"))
}

fn dynamic_map(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let (Some(name), seq) = (args.text("map"), args.small::<u16>("seq")) else { return Ok(()) };
    let maps = &mut editor.configuration.dynamic_maps;
    match (args.negated(), seq) {
        (false, Some(seq)) => {
            maps.entry(name.into()).or_default().entries.entry(seq).or_default();
            editor.mode = Mode::DynamicMap(name.into(), seq);
        }
        (true, Some(seq)) => {
            if let Some(map) = maps.get_mut(name) {
                map.entries.remove(&seq);
                if map.entries.is_empty() {
                    maps.remove(name);
                }
            }
            editor.mode = Mode::Global;
        }
        (_, None) => {
            maps.remove(name);
            editor.mode = Mode::Global;
        }
    }
    Ok(())
}

fn transform_set(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(tag) = args.text("tag") else { return Ok(()) };
    if args.negated() {
        let users = editor.configuration.crypto_maps.iter().flat_map(|(name, map)| {
            map.entries.iter().map(move |(seq, entry)| (name, seq, &entry.body.transform_sets))
        });
        let used =
            users.filter(|(_, _, sets)| sets.iter().any(|set| set == tag)).map(|(name, seq, _)| (name, seq));
        if let Some((name, seq)) = used.min() {
            return Err(EditError::rule(format_args!(
                "transform set {tag} is in use by crypto map \"{name}\" {seq}; change that entry first"
            )));
        }
        editor.configuration.transform_sets.remove(tag);
        editor.mode = Mode::Global;
        return Ok(());
    }
    let mut new = parse_transforms(args)?;
    if let Some(old) = editor.configuration.transform_sets.get(tag) {
        (new.mode, new.esn) = (old.mode, old.esn);
    }
    editor.configuration.transform_sets.insert(tag.into(), new);
    editor.mode = Mode::TransformSet(tag.into());
    Ok(())
}

/// At most one transform of each kind, and no MAC with a combined cipher.
fn parse_transforms(args: &Args) -> Result<TransformSet, EditError> {
    let mut set = TransformSet::default();
    let twice = |what: &str| EditError::rule(format_args!("a transform set takes one {what} only"));
    for (word, value) in args.iter() {
        if value.is_some() {
            continue;
        }
        if let Some(name) = word.strip_suffix("-hmac") {
            let (ah, hash) = name.split_once('-').unwrap_or(("", ""));
            let mac = match hash {
                "md5" => EspMac::Md5,
                "sha" => EspMac::Sha1,
                "sha256" => EspMac::Sha256,
                "sha384" => EspMac::Sha384,
                _ => EspMac::Sha512,
            };
            let (slot, what) =
                if ah == "ah" { (&mut set.ah, "AH transform") } else { (&mut set.mac, "ESP MAC") };
            if slot.replace(mac).is_some() {
                return Err(twice(what));
            }
            continue;
        }
        let cipher = match word {
            "esp-des" => EspCipher::Des,
            "esp-3des" => EspCipher::TripleDes,
            "esp-aes" => EspCipher::Aes(128),
            "esp-gcm" => EspCipher::Gcm(128),
            "esp-gmac" => EspCipher::Gmac(128),
            "esp-chacha20-poly1305" => EspCipher::ChaCha20Poly1305,
            "esp-null" => EspCipher::Null,
            "esp-seal" => EspCipher::Seal,
            "comp-lzs" if set.compression => return Err(twice("compression")),
            "comp-lzs" => {
                set.compression = true;
                continue;
            }
            "128" | "192" | "256" => {
                let bits = word.parse().unwrap_or(128);
                set.cipher = match set.cipher {
                    Some(EspCipher::Aes(_)) => Some(EspCipher::Aes(bits)),
                    Some(EspCipher::Gcm(_)) => Some(EspCipher::Gcm(bits)),
                    Some(EspCipher::Gmac(_)) => Some(EspCipher::Gmac(bits)),
                    other => other,
                };
                continue;
            }
            _ => continue,
        };
        if set.cipher.replace(cipher).is_some() {
            return Err(twice("ESP cipher"));
        }
    }
    if set.mac.is_some() && set.cipher.is_some_and(EspCipher::is_combined) {
        return Err(EditError::rule(
            "esp-gcm, esp-gmac and esp-chacha20-poly1305 carry their own integrity; leave the ESP MAC out",
        ));
    }
    Ok(set)
}

fn lifetime(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mut lifetime = editor.configuration.ipsec.lifetime;
    parse_lifetime(&mut lifetime, args);
    warn_low_lifetime(editor, args);
    editor.configuration.ipsec.lifetime = lifetime;
    Ok(())
}

fn idle_time(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.idle_seconds = args.small("seconds").filter(|_| !args.negated());
    Ok(())
}

fn replay(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.replay = parse_replay(args);
    Ok(())
}

fn df_bit(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.df_bit = parse_df_bit(args).unwrap_or_default();
    Ok(())
}

/// `clear`, `set` or `copy`; `None` in the negated form.
pub(super) fn parse_df_bit(args: &Args) -> Option<DfBit> {
    if args.negated() {
        return None;
    }
    // The command itself may start with the word `set`: the last keyword decides.
    match args.iter().filter(|(_, value)| value.is_none()).last()?.0 {
        "clear" => Some(DfBit::Clear),
        "set" => Some(DfBit::Set),
        _ => Some(DfBit::Copy),
    }
}

fn fragmentation(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.fragment_after_encryption = args.has("after-encryption") && !args.negated();
    Ok(())
}

fn logging_session(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.logging_session = !args.negated();
    Ok(())
}

fn logging_ikev2(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    editor.configuration.ipsec.logging_ikev2 = !args.negated();
    Ok(())
}

fn default_version(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if args.has("1") && !args.negated() {
        return Err(EditError::rule("IKEv1 is not implemented; type \"crypto ike default-version 2\""));
    }
    editor.configuration.isakmp.default_version = 2;
    Ok(())
}

fn give_up(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let seconds = args.small("seconds").filter(|_| !args.negated());
    editor.configuration.isakmp.give_up = seconds.unwrap_or(IsakmpGlobals::GIVE_UP);
    Ok(())
}
