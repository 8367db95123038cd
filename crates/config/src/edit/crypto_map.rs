//! `crypto map` and `crypto dynamic-map` mode.

use super::crypto_global::parse_df_bit;
use super::{Answer, ConfigCommand, EditError, Editor, Mode, Question, apply, keep};
use crate::Configuration;
use crate::model::{
    DhGroup, EntryBody, IdleTimer, Keying, KilobyteLimit, Lifetime, Peer, PeerName, Profile, Replay,
    ReverseRoute, Secret, SessionKey,
};
use crate::render::MASK;
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply("set peer / {<address:IP> [default] | <host:HOST-NAME> [dynamic] [default]}", set_peer),
    apply("match address / <acl:ACL>", match_address),
    apply("set transform-set / {<tag:WORD>}*6", set_transform_set),
    apply("set security-association {idle-time | =idletime} / <seconds:60-86400> [default]", idle_time),
    apply(
        "set security-association lifetime / {seconds <seconds:120-2592000> \
         | kilobytes {disable | <kilobytes:2560-4294967295>} | days <days:1-1>}",
        lifetime,
    ),
    apply("set security-association replay / {disable | window-size {64 | 128 | 256 | 512 | 1024}}", replay),
    apply("set security-association dfbit / {clear | set | copy}", dfbit),
    apply(
        "set pfs / [group1 | group2 | group5 | group14 | group15 | group16 | group19 | group20 | group21 | group24 \
         | group31]",
        pfs,
    ),
    apply("set ikev2-profile / <profile:WORD>", ikev2_profile),
    apply("set isakmp-profile / <profile:WORD>", isakmp_profile),
    apply("description / <text:LINE>", description),
    apply("reverse-route / [static] [remote-peer <peer:IP> [static]]", reverse_route),
    apply("set reverse-route distance / <distance:1-255>", route_distance),
    apply("set reverse-route tag / <tag:1-4294967295>", route_tag),
    apply("set reverse-route gateway / <gateway:IP>", route_gateway),
    keep("set security-association {dummy | ecn} / [<text:LINE>]", kept),
    keep("set identity / <identity:WORD>", kept),
    keep("{qos | dialer} pre-classify /", kept),
    apply("set ip access-group / <acl:ACL> {in | out}", access_group),
];

/// Not in dynamic maps.
pub(super) const STATIC_ONLY: &[ConfigCommand] = &[
    apply("set security-association level per-host /", per_host),
    apply(
        "set session-key {inbound | outbound} esp / <spi:256-4294967295> cipher <cipher:HEX> \
         [authenticator <authenticator:HEX>]",
        session_key,
    ),
    apply("set session-key {inbound | outbound} ah / <spi:256-4294967295> <cipher:HEX>", session_key),
];

/// Only in dynamic maps.
pub(super) const DYNAMIC_ONLY: &[ConfigCommand] = &[keep("set nat demux /", kept)];

fn body_of<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut EntryBody> {
    match mode {
        Mode::CryptoMap(map, seq) => {
            let entry = configuration.crypto_maps.get_mut(map)?.entries.get_mut(seq)?;
            Some(&mut entry.body)
        }
        Mode::DynamicMap(map, seq) => configuration.dynamic_maps.get_mut(map)?.entries.get_mut(seq),
        _ => None,
    }
}

fn kept<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut Vec<String>> {
    body_of(configuration, mode).map(|body| &mut body.kept)
}

/// Runs `change` on the entry that is being edited.
fn edit(editor: &mut Editor<'_>, change: impl FnOnce(&mut EntryBody)) -> Result<(), EditError> {
    if let Some(body) = body_of(editor.configuration, &editor.mode) {
        change(body);
    }
    Ok(())
}

fn is_manual(editor: &Editor<'_>) -> bool {
    match &editor.mode {
        Mode::CryptoMap(map, seq) => {
            editor.configuration.entry(map, *seq).is_some_and(|entry| entry.keying == Keying::Manual)
        }
        _ => false,
    }
}

/// Most peers of an entry.
const MAX_PEERS: usize = 40;

fn set_peer(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = peer_name(args) else {
        // `no set peer` without an operand is only valid if there is a single peer.
        return edit(editor, |body| {
            if body.peers.len() == 1 {
                body.peers.clear();
            }
        });
    };
    if args.negated() {
        // Every form of `no set peer A …` removes the peer; the next one does not become the
        // default.
        return edit(editor, |body| body.peers.retain(|peer| !peer.name.same_peer(&name)));
    }
    check_peer(editor, args, &name)?;
    match name {
        // Resolve the name even if an `ip host` line exists: the owner of the sessions stores the
        // current address.
        PeerName::Host { name, dynamic: false } => editor.ask(Question::Resolves(name), set_named_peer),
        name => add_peer(editor, args, name)?,
    }
    Ok(())
}

fn peer_name(args: &Args) -> Option<PeerName> {
    match (args.address("address"), args.text("host")) {
        (Some(address), _) => Some(PeerName::Address(address)),
        (None, Some(host)) => Some(PeerName::Host { name: host.into(), dynamic: args.has("dynamic") }),
        (None, None) => None,
    }
}

/// Checks whether the peer can be added to the entry.
fn check_peer(editor: &mut Editor<'_>, args: &Args, name: &PeerName) -> Result<(), EditError> {
    let manual = is_manual(editor);
    let Some(body) = body_of(editor.configuration, &editor.mode) else { return Ok(()) };
    let at = body.peers.iter().position(|peer| peer.name.same_peer(name));
    if args.has("default") && at.unwrap_or(body.peers.len()) != 0 {
        return Err(EditError::rule(match body.default_peer() {
            Some(_) => "a default peer is already configured for this crypto map",
            None => "default peer must be the first peer in the peer list",
        }));
    }
    if at.is_none() && manual && !body.peers.is_empty() {
        return Err(EditError::rule(
            "only one peer may be configured for an ipsec-manual crypto map; remove it first",
        ));
    }
    if at.is_none() && body.peers.len() >= MAX_PEERS {
        return Err(EditError::rule(format_args!("an entry takes at most {MAX_PEERS} peers")));
    }
    Ok(())
}

/// A host name without `dynamic` is resolved when it is entered. The entry may have changed during
/// the query.
fn set_named_peer(editor: &mut Editor<'_>, args: &Args, answer: Answer) -> Result<(), EditError> {
    let (Some(name), Answer::Resolves(resolves)) = (peer_name(args), answer) else { return Ok(()) };
    check_peer(editor, args, &name)?;
    let lower = name.to_string().to_ascii_lowercase();
    let system = &editor.configuration.system;
    let domain = system.domain_name.as_deref().unwrap_or("");
    let listed = system.hosts.contains_key(&lower) || system.hosts.contains_key(&format!("{lower}.{domain}"));
    if !resolves && !listed {
        if !editor.from_file {
            return Err(EditError("% Unrecognized host or address.".into()));
        }
        // A configuration must load while name resolution is unavailable.
        editor.notice(format!(
            "%NOTE: host name {name} does not resolve now; it is tried again when it is needed"
        ));
    }
    add_peer(editor, args, name)
}

/// Adds a validated peer, or replaces the one with the same name.
fn add_peer(editor: &mut Editor<'_>, args: &Args, name: PeerName) -> Result<(), EditError> {
    let default = args.has("default");
    let no_dpd = default && !is_manual(editor) && !has_dpd(editor);
    edit(editor, |body| {
        let at = body.peers.iter().position(|peer| peer.name.same_peer(&name));
        let peer = Peer { name, default };
        match at {
            Some(at) => body.peers[at] = peer,
            None => body.peers.push(peer),
        }
    })?;
    if no_dpd {
        editor.interactive_notice(crate::commit::NO_DPD_NOTE);
    }
    Ok(())
}

fn has_dpd(editor: &mut Editor<'_>) -> bool {
    let profile = body_of(editor.configuration, &editor.mode).and_then(|body| body.profile.clone());
    match profile {
        Some(Profile::Ikev2(name)) => {
            let own = editor.configuration.ikev2_profiles.get(&name).and_then(|profile| profile.dpd);
            own.or(editor.configuration.ikev2.dpd).is_some()
        }
        _ => editor.configuration.isakmp.keepalive.is_some(),
    }
}

fn match_address(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let acl = args.text("acl").filter(|_| !args.negated()).map(String::from);
    edit(editor, |body| body.match_address = acl)
}

fn access_group(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit(editor, |body| super::access_list::access_group(&mut body.access_groups, args))
}

fn set_transform_set(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if args.negated() {
        return edit(editor, |body| body.transform_sets.clear());
    }
    let mut tags: Vec<String> = Vec::new();
    for tag in args.texts("tag") {
        if !editor.configuration.transform_sets.contains_key(tag) && !editor.from_file {
            return Err(EditError(format!("ERROR: transform set with tag \"{tag}\" does not exist.")));
        }
        if !tags.iter().any(|have| have == tag) {
            tags.push(tag.into());
        }
    }
    if is_manual(editor) && tags.len() > 1 {
        return Err(EditError::rule("an ipsec-manual crypto map takes one transform set"));
    }
    edit(editor, |body| body.transform_sets = tags)
}

fn idle_time(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let seconds = args.small("seconds").filter(|_| !args.negated());
    let to_default = args.has("default");
    edit(editor, |body| body.idle = seconds.map(|seconds| IdleTimer { seconds, to_default }))
}

fn lifetime(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    warn_low_lifetime(editor, args);
    edit(editor, |body| parse_lifetime(&mut body.lifetime, args))
}

/// Parses `seconds`, `kilobytes` or `days` into `lifetime`; the negated form clears the named
/// values, or both.
pub(super) fn parse_lifetime(lifetime: &mut Lifetime, args: &Args) {
    let (seconds, volume) = (args.has("seconds") || args.has("days"), args.has("kilobytes"));
    if args.negated() {
        if seconds || !volume {
            lifetime.seconds = None;
        }
        if volume || !seconds {
            lifetime.kilobytes = None;
        }
    } else if volume {
        lifetime.kilobytes = match args.small("kilobytes") {
            Some(kilobytes) => Some(KilobyteLimit::Kilobytes(kilobytes)),
            None => Some(KilobyteLimit::Disabled),
        };
    } else {
        lifetime.seconds = args.small("seconds").or(args.small::<u32>("days").map(|days| days * 86_400));
    }
}

/// The IOS warning for low lifetimes.
pub(super) fn warn_low_lifetime(editor: &mut Editor<'_>, args: &Args) {
    if args.negated() {
        return;
    }
    if let Some(kilobytes) = args.number("kilobytes").filter(|k| *k < 102_400) {
        editor.notice(format!(
            "Warning! Lifetime value of {kilobytes} KB is lower than the recommended optimum value of 102400 KB"
        ));
    }
    if let Some(seconds) = args.number("seconds").filter(|s| *s < 900) {
        editor.notice(format!(
            "Warning! Lifetime value of {seconds} sec is lower than the recommended optimum value of 900 sec"
        ));
    }
}

fn replay(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let replay = parse_replay(args);
    edit(editor, |body| body.replay = replay)
}

pub(super) fn parse_replay(args: &Args) -> Option<Replay> {
    if args.negated() {
        return None;
    }
    let window = args.one_of(&["64", "128", "256", "512", "1024"]).and_then(|size| size.parse().ok());
    Some(window.map_or(Replay::Disabled, Replay::Window))
}

fn dfbit(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let df_bit = parse_df_bit(args);
    edit(editor, |body| body.df_bit = df_bit)
}

fn per_host(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit(editor, |body| body.per_host = !args.negated())
}

/// `set pfs` without a group means group 14, as in current IOS releases.
fn pfs(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let typed = args.iter().find_map(|(word, _)| word.strip_prefix("group")?.parse().ok());
    let group = (!args.negated()).then_some(DhGroup(typed.unwrap_or(14)));
    edit(editor, |body| body.pfs = group)
}

fn ikev2_profile(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let profile = args.text("profile").filter(|_| !args.negated()).map(|name| Profile::Ikev2(name.into()));
    edit(editor, |body| body.profile = profile)
}

fn isakmp_profile(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if args.negated() {
        return edit(editor, |body| body.profile = None);
    }
    Err(EditError::rule(
        "isakmp profiles mean IKEv1, which is not implemented; use \"set ikev2-profile\" or no profile",
    ))
}

fn description(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let text = args.text("text").filter(|_| !args.negated()).map(String::from);
    edit(editor, |body| body.description = text)
}

fn reverse_route(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit(editor, |body| {
        if args.negated() {
            body.reverse_route = None;
            return;
        }
        let route = body.reverse_route.get_or_insert_default();
        route.static_routes = args.has("static");
        route.remote_peer = args.address("peer");
    })
}

/// Changes the reverse route; `set reverse-route` alone does not enable it.
fn edit_route(editor: &mut Editor<'_>, change: impl FnOnce(&mut ReverseRoute)) -> Result<(), EditError> {
    let on = body_of(editor.configuration, &editor.mode).is_some_and(|body| body.reverse_route.is_some());
    if !on {
        return Err(EditError::rule("type \"reverse-route\" first"));
    }
    edit(editor, |body| {
        if let Some(route) = &mut body.reverse_route {
            change(route);
        }
    })
}

fn route_distance(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_route(editor, |route| route.distance = args.small("distance").filter(|_| !args.negated()))
}

fn route_tag(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_route(editor, |route| route.tag = args.small("tag").filter(|_| !args.negated()))
}

fn route_gateway(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    edit_route(editor, |route| route.gateway = args.address("gateway").filter(|_| !args.negated()))
}

fn session_key(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if !is_manual(editor) {
        return Err(EditError::rule("session keys belong to ipsec-manual crypto maps"));
    }
    let sets = body_of(editor.configuration, &editor.mode)
        .map(|body| body.transform_sets.clone())
        .unwrap_or_default();
    let combined = sets.iter().any(|tag| {
        let set = editor.configuration.transform_sets.get(tag);
        set.and_then(|set| set.cipher).is_some_and(crate::model::EspCipher::is_combined)
    });
    if combined && !args.negated() {
        return Err(EditError::rule(
            "hand-made keys would repeat nonces with esp-gcm; use \"esp-aes 256 esp-sha256-hmac\", or ipsec-isakmp",
        ));
    }
    if args.texts("cipher").chain(args.texts("authenticator")).any(|key| key == MASK) {
        return Err(EditError::rule(format_args!("\"{MASK}\" stands for a hidden key; type the key itself")));
    }
    let key = args.small("spi").zip(args.text("cipher")).filter(|_| !args.negated()).map(|(spi, cipher)| {
        SessionKey {
            spi,
            cipher: Secret::new(cipher),
            authenticator: args.text("authenticator").map(Secret::new),
        }
    });
    edit(editor, |body| {
        let keys = &mut body.session_keys;
        let slot = match (args.has("inbound"), args.has("esp")) {
            (true, true) => &mut keys.inbound_esp,
            (true, false) => &mut keys.inbound_ah,
            (false, true) => &mut keys.outbound_esp,
            (false, false) => &mut keys.outbound_ah,
        };
        *slot = key;
    })
}
