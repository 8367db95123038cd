//! tohub and strongSwan: ML-KEM-768 beside x25519 (RFC 9370, RFC 9242), and post-quantum pre-shared
//! keys (RFC 8784), in both roles.

use lab::Result;
use lab::command::wait_for;
use lab::peer::{KEY, Pair, Release, gateway_configuration, installed};

/// The key of strongSwan's template.
const PPK: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn ml_kem_with_strongswan_6_as_responder_and_a_rekeying_by_us() -> Result<()> {
    const NAME: &str = "ml_kem_with_strongswan_6_as_responder_and_a_rekeying_by_us";
    if !installed(NAME, Release::Six) {
        return Ok(());
    }
    let pair = hybrid()?;
    ping(&pair)?;
    established(&pair)?;
    let log = pair.stranger_log();
    assert!(log.contains("IKE_INTERMEDIATE request 1 [ KE ]"), "{log}");
    assert!(log.contains("[ EF(1/"), "IKE_INTERMEDIATE comes in fragments: {log}");
    // 2560 kilobytes are the least lifetime by volume; its soft limit comes earlier.
    pair.host.run("ping", &["-q", "-c", "2500", "-i", "0.002", "-s", "1200", "-W", "3", "10.2.0.1"])?;
    wait_for("our IKE_FOLLOWUP_KE", 10, || {
        pair.stranger_log().contains("parsed IKE_FOLLOWUP_KE request").then_some(())
    })?;
    ping(&pair)?;
    established(&pair)
}

#[test]
fn ml_kem_with_strongswan_6_as_initiator_and_both_rekeyings_by_it() -> Result<()> {
    const NAME: &str = "ml_kem_with_strongswan_6_as_initiator_and_both_rekeyings_by_it";
    if !installed(NAME, Release::Six) {
        return Ok(());
    }
    let pair = hybrid()?;
    pair.swanctl(&["--initiate", "--child", "net", "--timeout", "15"])?;
    ping(&pair)?;
    established(&pair)?;
    for what in [["--rekey", "--child", "net"], ["--rekey", "--ike", "gw"]] {
        pair.swanctl(&what)?;
        wait_for("strongSwan's IKE_FOLLOWUP_KE", 10, || {
            let done = pair.stranger_log().matches("parsed IKE_FOLLOWUP_KE response").count();
            (done > usize::from(what[1] == "--ike")).then_some(())
        })?;
        ping(&pair)?;
        established(&pair)?;
    }
    Ok(())
}

#[test]
fn a_ppk_with_strongswan_6_in_both_roles() -> Result<()> {
    const NAME: &str = "a_ppk_with_strongswan_6_in_both_roles";
    if !installed(NAME, Release::Six) {
        return Ok(());
    }
    for (strangers_turn, required) in [(false, " required"), (true, " required"), (false, ""), (true, "")] {
        let pair = with_ppk(PPK, required)?;
        if strangers_turn {
            pair.swanctl(&["--initiate", "--child", "net", "--timeout", "15"])?;
        }
        ping(&pair)?;
        established(&pair)?;
        let log = pair.stranger_log();
        assert!(log.contains("using PPK for PPK_ID 'ppk1'"), "{log}");
    }
    Ok(())
}

#[test]
fn another_ppk_makes_no_tunnel() -> Result<()> {
    if !installed("another_ppk_makes_no_tunnel", Release::Six) {
        return Ok(());
    }
    let pair = with_ppk("00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff", " required")?;
    assert!(pair.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).is_err());
    let sas = pair.gateway.cli("show crypto ikev2 sa")?;
    assert!(!sas.contains("READY"), "{sas}");
    Ok(())
}

/// x25519 and ML-KEM-768 for the IKE SA and for each rekeying.
fn hybrid() -> Result<Pair> {
    let proposal = "encryption aes-gcm-256\n prf sha384\n group 31\n additional-key-exchange 1 mlkem768";
    let configuration = configuration(
        proposal,
        "",
        "esp-gcm 256",
        &["set pfs group31", "set security-association lifetime kilobytes 2560"],
    );
    Pair::start(Release::Six, "ikev2-mlkem", &[], &configuration)
}

fn with_ppk(ppk: &str, required: &str) -> Result<Pair> {
    let proposal = "encryption aes-cbc-256\n integrity sha256\n group 19";
    let ppk = format!("  ppk manual id ppk1 key hex {ppk}{required}\n");
    let settings = ["IKE=aes256-sha256-ecp256", "ESP=aes128gcm16"];
    let configuration = configuration(proposal, &ppk, "esp-gcm", &[]);
    Pair::start(Release::Six, "ikev2-ppk", &settings, &configuration)
}

fn configuration(proposal: &str, ppk: &str, transform: &str, entry: &[&str]) -> String {
    let ikev2 = format!(
        "crypto ikev2 proposal pq
 {proposal}
crypto ikev2 policy pq
 proposal pq
crypto ikev2 keyring k
 peer stranger
  address 192.0.2.2
  pre-shared-key {KEY}
{ppk}crypto ikev2 profile p
 match identity remote address 192.0.2.2
 authentication local pre-share
 authentication remote pre-share
 keyring local k
 dpd 10 2 periodic
crypto ikev2 fragmentation
"
    );
    let entry: Vec<&str> = ["set ikev2-profile p"].iter().chain(entry).copied().collect();
    ikev2 + &gateway_configuration(&["encryption aes 256"], transform, &entry)
}

fn ping(pair: &Pair) -> Result<()> {
    let ping = pair.host.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", "10.2.0.1"])?;
    assert!(ping.contains("5 received"), "{ping}");
    Ok(())
}

fn established(pair: &Pair) -> Result<()> {
    wait_for("both ends to show the tunnel", 10, || {
        let theirs = pair.swanctl(&["--list-sas"]).ok()?;
        let ours = pair.gateway.cli("show crypto ikev2 sa").ok()?;
        (theirs.contains("ESTABLISHED") && theirs.contains("INSTALLED") && ours.contains("READY"))
            .then_some(())
    })
}
