//! tohub and Debian's strongSwan: IKE_SA_INIT, IKE_AUTH and the first child, each in either role.

use lab::Result;
use lab::command::wait_for;
use lab::peer::{Pair, Release, gateway_configuration, installed};

const POLICY: [&str; 4] = ["encryption aes 256", "hash sha256", "authentication pre-share", "group 19"];

#[test]
fn strongswan_6_answers_our_initiation_and_carries_plain_esp() -> Result<()> {
    if !installed("strongswan_6_answers_our_initiation_and_carries_plain_esp", Release::Six) {
        return Ok(());
    }
    let pair = pair(Release::Six, "aes256-sha256-ecp256", "aes128gcm16")?;
    let ping = pair.host.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", "10.2.0.1"])?;
    assert!(ping.contains("5 received"), "{ping}");
    assert_established(&pair)
}

#[test]
fn strongswan_6_initiates_and_we_answer() -> Result<()> {
    if !installed("strongswan_6_initiates_and_we_answer", Release::Six) {
        return Ok(());
    }
    let pair = pair(Release::Six, "aes256-sha256-ecp256", "aes128gcm16")?;
    pair.swanctl(&["--initiate", "--child", "net", "--timeout", "15"])?;
    let ping = pair.host.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", "10.2.0.1"])?;
    assert!(ping.contains("5 received"), "{ping}");
    assert_established(&pair)
}

#[test]
fn strongswan_5_answers_our_initiation() -> Result<()> {
    if !installed("strongswan_5_answers_our_initiation", Release::Five) {
        return Ok(());
    }
    let pair = pair(Release::Five, "aes256-sha256-ecp256", "aes128gcm16")?;
    // The first packets bring up the tunnel; that release has ESP in UDP only.
    let _ = lab::command::output(pair.host.command("ping").args(["-c", "2", "-W", "2", "10.2.0.1"]))?;
    assert_established(&pair)
}

#[test]
fn strongswan_5_initiates_and_we_answer() -> Result<()> {
    if !installed("strongswan_5_initiates_and_we_answer", Release::Five) {
        return Ok(());
    }
    let pair = pair(Release::Five, "aes256-sha256-ecp256", "aes128gcm16")?;
    pair.swanctl(&["--initiate", "--child", "net", "--timeout", "15"])?;
    assert_established(&pair)
}

fn pair(release: Release, ike: &str, esp: &str) -> Result<Pair> {
    let settings = [format!("IKE={ike}"), format!("ESP={esp}")];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Pair::start(release, "ikev2-psk", &settings, &gateway_configuration(&POLICY, "esp-gcm", &[]))
}

/// Both ends show the IKE SA and one child.
fn assert_established(pair: &Pair) -> Result<()> {
    wait_for("both ends to show the tunnel", 10, || {
        let theirs = pair.swanctl(&["--list-sas"]).ok()?;
        let ours = pair.gateway.cli("show crypto ikev2 sa").ok()?;
        (theirs.contains("ESTABLISHED") && theirs.contains("INSTALLED") && ours.contains("READY"))
            .then_some(())
    })?;
    let session = pair.gateway.cli("show crypto session")?;
    assert!(session.contains("UP-ACTIVE"), "{session}");
    Ok(())
}
