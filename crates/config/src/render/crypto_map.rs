//! `crypto ipsec`, dynamic maps and crypto maps.

use super::Writer;
use crate::Configuration;
use crate::model::{
    DfBit, EntryBody, EspCipher, EspMac, Keying, KilobyteLimit, Lifetime, Mode, PeerName, Profile, Replay,
    ReverseRoute, SessionKey, TransformSet,
};

pub(super) fn ipsec(out: &mut Writer, configuration: &Configuration) {
    let globals = &configuration.ipsec;
    lifetime(out, "crypto ipsec security-association lifetime", &globals.lifetime);
    out.optional("crypto ipsec security-association idle-time ", globals.idle_seconds);
    replay(out, "crypto ipsec security-association replay", globals.replay);
    if globals.df_bit != DfBit::Copy {
        out.line(format_args!("crypto ipsec df-bit {}", df_bit(globals.df_bit)));
    }
    out.flag(globals.fragment_after_encryption, "crypto ipsec fragmentation after-encryption");
    out.lines("", &globals.kept);
    out.section();
    for (name, set) in &configuration.transform_sets {
        out.line(format_args!("crypto ipsec transform-set {name} {} ", transform_words(set)));
        out.line(match set.mode {
            Mode::Tunnel => " mode tunnel",
            Mode::Transport => " mode transport",
            Mode::TransportRequire => " mode transport require",
        });
        out.flag(set.esn, " esn");
    }
    out.section();
}

pub(super) fn dynamic_maps(out: &mut Writer, configuration: &Configuration) {
    for (name, map) in &configuration.dynamic_maps {
        for (seq, entry) in &map.entries {
            out.line(format_args!("crypto dynamic-map {name} {seq}"));
            body(out, entry);
        }
    }
    out.section();
}

pub(super) fn crypto_maps(out: &mut Writer, configuration: &Configuration) {
    for (name, map) in &configuration.crypto_maps {
        out.optional(&format!("crypto map {name} local-address "), map.local_address.as_ref());
        if map.fail_close {
            out.line(format_args!("crypto map {name} fail-close"));
        }
        for kept in &map.kept {
            out.line(format_args!("crypto map {name} {kept}"));
        }
        for (seq, entry) in &map.entries {
            let profile = entry.template_profile.as_ref().map_or(String::new(), |p| format!("profile {p} "));
            match &entry.keying {
                Keying::Isakmp => out.line(format_args!("crypto map {name} {seq} ipsec-isakmp {profile}")),
                Keying::Manual => out.line(format_args!("crypto map {name} {seq} ipsec-manual ")),
                Keying::Dynamic { map, discover } => {
                    let discover = if *discover { "discover " } else { "" };
                    out.line(format_args!(
                        "crypto map {name} {seq} ipsec-isakmp dynamic {map} {discover}{profile}"
                    ));
                }
            }
            body(out, &entry.body);
        }
    }
    out.section();
}

fn body(out: &mut Writer, body: &EntryBody) {
    out.optional(" description ", body.description.as_ref());
    for peer in &body.peers {
        let dynamic = if matches!(peer.name, PeerName::Host { dynamic: true, .. }) { " dynamic" } else { "" };
        let default = if peer.default { " default" } else { "" };
        out.line(format_args!(" set peer {}{dynamic}{default}", peer.name));
    }
    lifetime(out, " set security-association lifetime", &body.lifetime);
    if let Some(idle) = body.idle {
        let default = if idle.to_default { " default" } else { "" };
        out.line(format_args!(" set security-association idle-time {}{default}", idle.seconds));
    }
    out.flag(body.per_host, " set security-association level per-host");
    replay(out, " set security-association replay", body.replay);
    out.optional(" set security-association dfbit ", body.df_bit.map(df_bit));
    session_keys(out, body);
    if !body.transform_sets.is_empty() {
        out.line(format_args!(" set transform-set {} ", body.transform_sets.join(" ")));
    }
    out.optional(" set pfs group", body.pfs.map(|group| group.0));
    match &body.profile {
        Some(Profile::Ikev2(name)) => out.line(format_args!(" set ikev2-profile {name}")),
        Some(Profile::Isakmp(name)) => out.line(format_args!(" set isakmp-profile {name}")),
        None => {}
    }
    super::acl::access_groups(out, " set ", &body.access_groups);
    out.lines(" ", &body.kept);
    out.optional(" match address ", body.match_address.as_ref());
    if let Some(route) = &body.reverse_route {
        reverse_route(out, route);
    }
}

fn session_keys(out: &mut Writer, body: &EntryBody) {
    let keys = &body.session_keys;
    let all = [
        ("inbound ah", &keys.inbound_ah),
        ("outbound ah", &keys.outbound_ah),
        ("inbound esp", &keys.inbound_esp),
        ("outbound esp", &keys.outbound_esp),
    ];
    for (place, key) in all {
        let Some(SessionKey { spi, cipher, authenticator }) = key else { continue };
        let cipher_word = if place.ends_with("esp") { "cipher " } else { "" };
        let mut line = format!(" set session-key {place} {spi} {cipher_word}{}", out.key(cipher));
        if let Some(authenticator) = authenticator {
            line += &format!(" authenticator {}", out.key(authenticator));
        }
        out.line(line);
    }
}

fn reverse_route(out: &mut Writer, route: &ReverseRoute) {
    let fixed = if route.static_routes { " static" } else { "" };
    match route.remote_peer {
        Some(peer) => out.line(format_args!(" reverse-route remote-peer {peer}{fixed}")),
        None => out.line(format_args!(" reverse-route{fixed}")),
    }
    out.optional(" set reverse-route distance ", route.distance);
    out.optional(" set reverse-route tag ", route.tag);
    out.optional(" set reverse-route gateway ", route.gateway);
}

fn lifetime(out: &mut Writer, prefix: &str, lifetime: &Lifetime) {
    out.optional(&format!("{prefix} seconds "), lifetime.seconds);
    match lifetime.kilobytes {
        Some(KilobyteLimit::Kilobytes(kilobytes)) => out.line(format_args!("{prefix} kilobytes {kilobytes}")),
        Some(KilobyteLimit::Disabled) => out.line(format_args!("{prefix} kilobytes disable")),
        None => {}
    }
}

fn replay(out: &mut Writer, prefix: &str, replay: Option<Replay>) {
    match replay {
        Some(Replay::Window(packets)) => out.line(format_args!("{prefix} window-size {packets}")),
        Some(Replay::Disabled) => out.line(format_args!("{prefix} disable")),
        None => {}
    }
}

fn df_bit(df_bit: DfBit) -> &'static str {
    match df_bit {
        DfBit::Clear => "clear",
        DfBit::Set => "set",
        DfBit::Copy => "copy",
    }
}

/// The transforms as configured: `esp-aes 256 esp-sha256-hmac`.
pub(crate) fn transform_words(set: &TransformSet) -> String {
    let mut words = Vec::new();
    if let Some(mac) = set.ah {
        words.push(format!("ah-{}-hmac", mac_word(mac)));
    }
    let sized = |word: &str, bits: u16| if bits == 128 { word.into() } else { format!("{word} {bits}") };
    match set.cipher {
        Some(EspCipher::Des) => words.push("esp-des".into()),
        Some(EspCipher::TripleDes) => words.push("esp-3des".into()),
        Some(EspCipher::Aes(bits)) => words.push(sized("esp-aes", bits)),
        Some(EspCipher::Gcm(bits)) => words.push(sized("esp-gcm", bits)),
        Some(EspCipher::Gmac(bits)) => words.push(sized("esp-gmac", bits)),
        Some(EspCipher::ChaCha20Poly1305) => words.push("esp-chacha20-poly1305".into()),
        Some(EspCipher::Null) => words.push("esp-null".into()),
        Some(EspCipher::Seal) => words.push("esp-seal".into()),
        None => {}
    }
    if let Some(mac) = set.mac {
        words.push(format!("esp-{}-hmac", mac_word(mac)));
    }
    if set.compression {
        words.push("comp-lzs".into());
    }
    words.join(" ")
}

pub(crate) fn mac_word(mac: EspMac) -> &'static str {
    match mac {
        EspMac::Md5 => "md5",
        EspMac::Sha1 => "sha",
        EspMac::Sha256 => "sha256",
        EspMac::Sha384 => "sha384",
        EspMac::Sha512 => "sha512",
    }
}
