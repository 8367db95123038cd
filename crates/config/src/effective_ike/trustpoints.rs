//! The trustpoints of an entry.
//!
//! A profile selects them by `pki trustpoint`, with `sign` or `verify` for one direction only. If
//! none is selected, and for `crypto isakmp policy`, all trustpoints are used, as in IOS.

use super::Refusal;
use crate::model::{AuthenticationMethod, Configuration, Ikev2Profile, Trustpoint};

/// Names of trustpoints.
#[derive(Debug, Default)]
pub(super) struct Trustpoints {
    /// Trustpoints for the local certificate.
    pub(super) signing: Vec<String>,
    /// Trustpoints whose CA is trusted.
    pub(super) trusted: Vec<String>,
}

pub(super) fn of_isakmp(
    configuration: &Configuration,
    method: AuthenticationMethod,
) -> Result<Trustpoints, Refusal> {
    if !signs(method) {
        return Ok(Trustpoints::default());
    }
    let place = |what: &str| format!("isakmp policy with rsa-sig {what}");
    // A missing authentication line is as likely as missing certificates, so the remedy names both.
    let remedy = "type \"authentication pre-share\" in that policy, or \"crypto pki import T pem terminal\"";
    select(configuration, true, true, |_| Some((true, true)), place).map_err(|(reason, _)| (reason, remedy))
}

pub(super) fn of_profile(
    configuration: &Configuration,
    name: &str,
    profile: &Ikev2Profile,
    local: AuthenticationMethod,
) -> Result<Trustpoints, Refusal> {
    for named in &profile.trustpoints {
        if !configuration.trustpoints.contains_key(&named.name) {
            return Err((
                format!("ikev2 profile {name} names trustpoint {}, which does not exist", named.name),
                "create it with \"crypto pki import T pem terminal\"",
            ));
        }
    }
    let place = |what: &str| format!("ikev2 profile {name} {what}");
    let uses = |trustpoint: &str| match profile.trustpoints.iter().find(|named| named.name == trustpoint) {
        Some(named) => Some((named.sign, named.verify)),
        None => profile.trustpoints.is_empty().then_some((true, true)),
    };
    select(configuration, signs(local), profile.remote_authentication.iter().copied().any(signs), uses, place)
}

fn signs(method: AuthenticationMethod) -> bool {
    matches!(method, AuthenticationMethod::RsaSig | AuthenticationMethod::EcdsaSig)
}

fn select(
    configuration: &Configuration,
    local: bool,
    remote: bool,
    uses: impl Fn(&str) -> Option<(bool, bool)>,
    place: impl Fn(&str) -> String,
) -> Result<Trustpoints, Refusal> {
    let names = |wanted: fn(&Trustpoint, (bool, bool)) -> bool| -> Vec<String> {
        let used = configuration
            .trustpoints
            .iter()
            .filter(|(name, trustpoint)| uses(name).is_some_and(|uses| wanted(trustpoint, uses)));
        used.map(|(name, _)| name.clone()).collect()
    };
    let signing = if local { names(|t, (sign, _)| sign && t.certificate.is_some()) } else { Vec::new() };
    let trusted =
        if remote { names(|t, (_, verify)| verify && !t.authorities.is_empty()) } else { Vec::new() };
    if local && signing.is_empty() {
        return Err((
            place("has no trustpoint with a certificate of this gateway"),
            "type \"crypto pki import T pem terminal\" or \"crypto pki import T pkcs12 FILE password P\"",
        ));
    }
    if remote && trusted.is_empty() {
        return Err((
            place("has no trustpoint with the certificate of a CA"),
            "type \"crypto pki authenticate T\" or \"crypto pki import T pem terminal\"",
        ));
    }
    Ok(Trustpoints { signing, trusted })
}
