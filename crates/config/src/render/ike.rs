//! `crypto ike`, `crypto logging`, `crypto isakmp` and `crypto ikev2`.

use super::Writer;
use crate::Configuration;
use crate::model::{
    AdditionalMethod, AuthenticationMethod, DhGroup, DpdMode, Identity, Ikev2Dpd, Ikev2Encryption, Ikev2Hash,
    Ikev2Profile, IsakmpEncryption, IsakmpGlobals, IsakmpHash, IsakmpPolicy, KeyAddress, KeyringPeer,
    Negotiations, Prefix, RemoteIdentity,
};

pub(super) fn isakmp(out: &mut Writer, configuration: &Configuration) {
    let globals = &configuration.isakmp;
    // Always printed: a new default in a later release must not change the meaning of a stored
    // configuration.
    out.line(format_args!("crypto ike default-version {}", globals.default_version));
    if globals.give_up != IsakmpGlobals::GIVE_UP {
        out.line(format_args!("crypto ike give-up {}", globals.give_up));
    }
    out.flag(configuration.ipsec.logging_session, "crypto logging session");
    out.flag(configuration.ipsec.logging_ikev2, "crypto logging ikev2");
    out.section();
    let default = IsakmpPolicy::default();
    for (priority, policy) in &configuration.isakmp_policies {
        out.line(format_args!("crypto isakmp policy {priority}"));
        match policy.encryption {
            IsakmpEncryption::Des => {}
            IsakmpEncryption::TripleDes => out.line(" encr 3des"),
            IsakmpEncryption::Aes(128) => out.line(" encr aes"),
            IsakmpEncryption::Aes(bits) => out.line(format_args!(" encr aes {bits}")),
        }
        match policy.hash {
            IsakmpHash::Sha1 => {}
            IsakmpHash::Md5 => out.line(" hash md5"),
            IsakmpHash::Sha256 => out.line(" hash sha256"),
            IsakmpHash::Sha384 => out.line(" hash sha384"),
            IsakmpHash::Sha512 => out.line(" hash sha512"),
        }
        if policy.authentication != default.authentication {
            out.line(format_args!(" authentication {}", method(policy.authentication)));
        }
        if policy.group != default.group {
            out.line(format_args!(" group {}", policy.group.0));
        }
        if policy.lifetime != default.lifetime {
            out.line(format_args!(" lifetime {}", policy.lifetime));
        }
    }
    for key in &configuration.isakmp_keys {
        let peer = match &key.peer {
            KeyAddress::Hostname(name) => format!("hostname {name}"),
            KeyAddress::Address(prefix) if prefix.address.is_ipv6() => format!("address ipv6 {prefix}"),
            KeyAddress::Address(prefix) => format!("address {}", address_mask(prefix)),
        };
        let xauth = if key.no_xauth { " no-xauth" } else { "" };
        let text = out.key(&key.key);
        out.line(format_args!("crypto isakmp key {text} {peer}{xauth}"));
    }
    out.flag(!globals.enabled, "no crypto isakmp enable");
    match &globals.identity {
        Identity::Fqdn(_) => out.line("crypto isakmp identity hostname"),
        Identity::Dn => out.line("crypto isakmp identity dn"),
        _ => {}
    }
    if let Some(keepalive) = globals.keepalive {
        let retry = if keepalive.retry == 2 { String::new() } else { format!(" {}", keepalive.retry) };
        let mode = if keepalive.mode == DpdMode::Periodic { " periodic" } else { "" };
        // The retry interval is always printed before a mode, as in `keepalive 10 2 periodic`.
        let retry = if mode.is_empty() { retry } else { format!(" {}", keepalive.retry) };
        out.line(format_args!("crypto isakmp keepalive {}{retry}{mode}", keepalive.interval));
    }
    out.optional("crypto isakmp nat keepalive ", globals.nat_keepalive);
    out.flag(globals.invalid_spi_recovery, "crypto isakmp invalid-spi-recovery");
    out.lines("", &globals.kept);
    out.section();
}

pub(super) fn ikev2(out: &mut Writer, configuration: &Configuration) {
    for (name, proposal) in &configuration.ikev2_proposals {
        out.line(format_args!("crypto ikev2 proposal {name}"));
        list(out, " encryption", proposal.encryption.iter().copied().map(encryption_word));
        list(out, " integrity", proposal.integrity.iter().copied().map(hash_word));
        list(out, " prf", proposal.prf.iter().copied().map(hash_word));
        list(out, " group", proposal.groups.iter().map(|DhGroup(number)| number.to_string()));
        for exchange in &proposal.additional {
            let methods = exchange.methods.iter().map(|method| match method {
                AdditionalMethod::MlKem768 => "mlkem768".to_owned(),
            });
            let methods: Vec<String> = methods.collect();
            let optional = if exchange.optional { " optional" } else { "" };
            let (number, methods) = (exchange.number, methods.join(" "));
            out.line(format_args!(" additional-key-exchange {number} {methods}{optional}"));
        }
    }
    out.section();
    for (name, policy) in &configuration.ikev2_policies {
        out.line(format_args!("crypto ikev2 policy {name}"));
        out.optional(" match fvrf ", policy.fvrf.as_ref());
        out.lines_of(" match address local ", &policy.local_addresses);
        out.lines_of(" proposal ", &policy.proposals);
    }
    out.section();
    for (name, keyring) in &configuration.ikev2_keyrings {
        out.line(format_args!("crypto ikev2 keyring {name}"));
        for (name, peer) in &keyring.peers {
            out.line(format_args!(" peer {name}"));
            keyring_peer(out, peer);
            out.line(" !");
        }
    }
    out.section();
    for (name, profile) in &configuration.ikev2_profiles {
        out.line(format_args!("crypto ikev2 profile {name}"));
        ikev2_profile(out, profile);
    }
    out.section();
    let globals = &configuration.ikev2;
    out.optional("crypto ikev2 dpd ", globals.dpd.map(dpd));
    out.optional("crypto ikev2 nat keepalive ", globals.nat_keepalive);
    out.optional("crypto ikev2 cookie-challenge ", globals.cookie_challenge);
    match globals.fragmentation {
        Some(576) => out.line("crypto ikev2 fragmentation"),
        Some(mtu) => out.line(format_args!("crypto ikev2 fragmentation mtu {mtu}")),
        None => {}
    }
    match globals.max_redirects {
        Some(5) => out.line("crypto ikev2 redirect client"),
        Some(count) => out.line(format_args!("crypto ikev2 redirect client max-redirects {count}")),
        None => {}
    }
    out.optional("crypto ikev2 window ", globals.window);
    out.optional("crypto ikev2 limit max-sa ", globals.limits.max_sa);
    if let Some((count, which)) = globals.limits.max_in_negotiation {
        let which = match which {
            Negotiations::All => "",
            Negotiations::Incoming => " incoming",
            Negotiations::Outgoing => " outgoing",
        };
        out.line(format_args!("crypto ikev2 limit max-in-negotation-sa {count}{which}"));
    }
    out.lines("", &globals.kept);
    out.section();
}

impl Writer {
    fn lines_of<T: std::fmt::Display>(&mut self, prefix: &str, values: &[T]) {
        for value in values {
            self.line(format_args!("{prefix}{value}"));
        }
    }
}

fn keyring_peer(out: &mut Writer, peer: &KeyringPeer) {
    out.optional("  description ", peer.description.as_ref());
    out.optional("  address ", peer.address.as_ref().map(address_mask));
    out.optional("  hostname ", peer.hostname.as_ref());
    out.optional("  identity ", peer.identity.as_ref().map(identity));
    let key = &peer.key;
    let hex = if key.hex { "hex " } else { "" };
    match (&key.local, &key.remote) {
        (Some(local), Some(remote)) if local == remote => {
            let text = out.key(local);
            out.line(format_args!("  pre-shared-key {hex}{text}"));
        }
        (local, remote) => {
            for (direction, secret) in [("local", local), ("remote", remote)] {
                if let Some(secret) = secret {
                    let text = out.key(secret);
                    out.line(format_args!("  pre-shared-key {direction} {hex}{text}"));
                }
            }
        }
    }
    if let Some(ppk) = &peer.ppk {
        let hex = if ppk.hex { "hex " } else { "" };
        let required = if ppk.required { " required" } else { "" };
        let (id, text) = (&ppk.id, out.key(&ppk.key));
        out.line(format_args!("  ppk manual id {id} key {hex}{text}{required}"));
    }
}

fn ikev2_profile(out: &mut Writer, profile: &Ikev2Profile) {
    out.optional(" description ", profile.description.as_ref());
    out.optional(" match fvrf ", profile.fvrf.as_ref());
    out.lines_of(" match address local ", &profile.local_addresses);
    for remote in &profile.remote_identities {
        let text = match remote {
            RemoteIdentity::Any => "any".into(),
            RemoteIdentity::Address(prefix) => format!("address {}", full_address_mask(prefix)),
            RemoteIdentity::Fqdn(name) => format!("fqdn {name}"),
            RemoteIdentity::FqdnDomain(name) => format!("fqdn domain {name}"),
            RemoteIdentity::Email(name) => format!("email {name}"),
            RemoteIdentity::KeyId(name) => format!("key-id {name}"),
            RemoteIdentity::Dn(name) => format!("dn {name}"),
        };
        out.line(format_args!(" match identity remote {text}"));
    }
    out.optional(" identity local ", profile.local_identity.as_ref().map(identity));
    for remote in &profile.remote_authentication {
        out.line(format_args!(" authentication remote {}", method(*remote)));
    }
    out.optional(" authentication local ", profile.local_authentication.map(method));
    out.optional(" keyring local ", profile.keyring.as_ref());
    for trustpoint in &profile.trustpoints {
        let purpose = match (trustpoint.sign, trustpoint.verify) {
            (true, false) => " sign",
            (false, true) => " verify",
            _ => "",
        };
        out.line(format_args!(" pki trustpoint {}{purpose}", trustpoint.name));
    }
    out.optional(" lifetime ", profile.lifetime);
    out.optional(" dpd ", profile.dpd.map(dpd));
    out.optional(" nat keepalive ", profile.nat_keepalive);
    out.flag(profile.initial_contact_force, " initial-contact force");
    out.lines(" ", &profile.kept);
}

fn list(out: &mut Writer, prefix: &str, words: impl Iterator<Item = impl Into<String>>) {
    let words: Vec<String> = words.map(Into::into).collect();
    if !words.is_empty() {
        out.line(format_args!("{prefix} {}", words.join(" ")));
    }
}

pub(crate) fn encryption_word(encryption: Ikev2Encryption) -> String {
    match encryption {
        Ikev2Encryption::Des => "des".into(),
        Ikev2Encryption::TripleDes => "3des".into(),
        Ikev2Encryption::AesCbc(bits) => format!("aes-cbc-{bits}"),
        Ikev2Encryption::AesGcm(bits) => format!("aes-gcm-{bits}"),
    }
}

pub(crate) fn hash_word(hash: Ikev2Hash) -> &'static str {
    match hash {
        Ikev2Hash::Md5 => "md5",
        Ikev2Hash::Sha1 => "sha1",
        Ikev2Hash::Sha256 => "sha256",
        Ikev2Hash::Sha384 => "sha384",
        Ikev2Hash::Sha512 => "sha512",
    }
}

pub(crate) fn method(method: AuthenticationMethod) -> &'static str {
    match method {
        AuthenticationMethod::PreShare => "pre-share",
        AuthenticationMethod::RsaSig => "rsa-sig",
        AuthenticationMethod::RsaEncr => "rsa-encr",
        AuthenticationMethod::EcdsaSig => "ecdsa-sig",
        AuthenticationMethod::Eap => "eap",
    }
}

fn dpd(dpd: Ikev2Dpd) -> String {
    let mode = match dpd.mode {
        DpdMode::OnDemand => "on-demand",
        DpdMode::Periodic => "periodic",
    };
    format!("{} {} {mode}", dpd.interval, dpd.retry)
}

fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Address(Some(address)) => format!("address {address}"),
        Identity::Address(None) => "address".into(),
        Identity::Fqdn(name) => format!("fqdn {name}").trim_end().into(),
        Identity::Email(name) => format!("email {name}"),
        Identity::KeyId(name) => format!("key-id {name}"),
        Identity::Dn => "dn".into(),
    }
}

/// `A` for a single host, otherwise `A mask`; IPv6 as `A/L`.
fn address_mask(prefix: &Prefix) -> String {
    match (prefix.address.is_ipv4(), prefix.length) {
        (true, 32) => prefix.address.to_string(),
        (true, _) => full_address_mask(prefix),
        (false, _) => prefix.to_string(),
    }
}

fn full_address_mask(prefix: &Prefix) -> String {
    match prefix.address.is_ipv4() {
        true => format!("{} {}", prefix.address, Prefix::mask(prefix.length)),
        false => prefix.to_string(),
    }
}
