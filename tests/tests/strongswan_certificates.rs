//! tohub and Debian's strongSwan with certificates: RSA and ECDSA, each in either role.

use std::path::Path;

use lab::Result;
use lab::command::wait_for;
use lab::peer::{Pair, Release, gateway_configuration, installed, make_pki};

const SETTINGS: [&str; 2] = ["IKE=aes256-sha256-ecp256", "ESP=aes128gcm16"];

#[test]
fn strongswan_6_and_rsa() -> Result<()> {
    both_roles("strongswan_6_and_rsa", Release::Six, "rsa", "rsa-sig")
}

#[test]
fn strongswan_6_and_ecdsa() -> Result<()> {
    both_roles("strongswan_6_and_ecdsa", Release::Six, "ecdsa", "ecdsa-sig")
}

#[test]
fn strongswan_5_and_rsa() -> Result<()> {
    both_roles("strongswan_5_and_rsa", Release::Five, "rsa", "rsa-sig")
}

#[test]
fn strongswan_5_and_ecdsa() -> Result<()> {
    both_roles("strongswan_5_and_ecdsa", Release::Five, "ecdsa", "ecdsa-sig")
}

#[test]
fn a_certificate_of_another_ca_opens_no_tunnel() -> Result<()> {
    if !installed("a_certificate_of_another_ca_opens_no_tunnel", Release::Six) {
        return Ok(());
    }
    let (theirs, ours) = (make_pki("ecdsa")?, make_pki("ecdsa")?);
    let pair = start(Release::Six, "ecdsa-sig", theirs.path(), ours.path())?;
    assert!(pair.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).is_err());
    assert!(!pair.swanctl(&["--list-sas"])?.contains("ESTABLISHED"));
    let log = pair.gateway.log();
    assert!(log.contains("could not authenticate 192.0.2.2"), "{log}");
    Ok(())
}

/// First strongSwan initiates, then we do.
fn both_roles(test: &str, release: Release, key_type: &str, method: &str) -> Result<()> {
    if !installed(test, release) {
        return Ok(());
    }
    let pki = make_pki(key_type)?;
    let pair = start(release, method, pki.path(), pki.path())?;
    pair.swanctl(&["--initiate", "--child", "net", "--timeout", "20"])?;
    assert_established(&pair, method)?;
    if release == Release::Six {
        let ping = pair.host.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "10.2.0.1"])?;
        assert!(ping.contains("3 received"), "{ping}");
    }
    pair.swanctl(&["--terminate", "--ike", "gw"])?;
    wait_for("the gateway to see the end", 10, || {
        (!pair.gateway.cli("show crypto ikev2 sa").ok()?.contains("READY")).then_some(())
    })?;
    // The first packets bring up the tunnel.
    let _ = lab::command::output(pair.host.command("ping").args(["-c", "3", "-W", "2", "10.2.0.1"]))?;
    assert_established(&pair, method)?;
    assert_fragmented(&pair);
    assert_keys_are_hidden(&pair)
}

/// strongSwan trusts the CA of `theirs`, the gateway has certificate and CA of `ours`.
fn start(release: Release, method: &str, theirs: &Path, ours: &Path) -> Result<Pair> {
    let profile = format!(
        "crypto ikev2 proposal strong
 encryption aes-cbc-256
 integrity sha256
 group 19
crypto ikev2 policy strong
 proposal strong
crypto pki trustpoint T
 revocation-check none
crypto ikev2 profile P
 match identity remote address 192.0.2.2 255.255.255.255
 identity local address 192.0.2.1
 authentication remote {method}
 authentication local {method}
 pki trustpoint T
"
    );
    let configuration =
        profile + &gateway_configuration(&["authentication pre-share"], "esp-gcm", &["set ikev2-profile P"]);
    let pair = Pair::start_with(release, "ikev2-cert", &SETTINGS, &configuration, Some(theirs))?;
    let import = format!("crypto pki import T pem url {}", ours.join("gateway.pem").display());
    let answer = pair.gateway.configure(&[&import])?;
    assert!(answer.contains("PEM files import succeeded"), "{answer}");
    Ok(pair)
}

/// Both ends show the IKE SA and one child, and the authentication method.
fn assert_established(pair: &Pair, method: &str) -> Result<()> {
    let name = if method == "rsa-sig" { "RSA" } else { "ECDSA" };
    let auth = format!("Auth sign: {name}, Auth verify: {name}");
    wait_for("both ends to show the tunnel", 15, || {
        let theirs = pair.swanctl(&["--list-sas"]).ok()?;
        let ours = pair.gateway.cli("show crypto ikev2 sa").ok()?;
        let up = theirs.contains("ESTABLISHED") && theirs.contains("INSTALLED") && ours.contains("READY");
        (up && ours.contains(&auth)).then_some(())
    })
}

/// Certificates do not fit into the 576 octets that strongSwan is configured to use.
fn assert_fragmented(pair: &Pair) {
    let log = pair.stranger_log();
    assert!(log.contains("IKE_AUTH") && log.contains("EF(2/"), "{log}");
}

fn assert_keys_are_hidden(pair: &Pair) -> Result<()> {
    let shown =
        pair.gateway.cli("show running-config")? + &pair.gateway.cli("show crypto pki certificates")?;
    assert!(shown.contains("crypto pki certificate chain T") && shown.contains("CN=192.0.2.1"), "{shown}");
    assert!(!(shown + &pair.gateway.log()).contains("PRIVATE KEY"));
    Ok(())
}
