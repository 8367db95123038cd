use super::*;
use crate::model::*;

fn base() -> (Configuration, CryptoMapEntry) {
    let mut configuration = Configuration::default();
    let set = TransformSet { cipher: Some(EspCipher::Gcm(256)), ..TransformSet::default() };
    configuration.transform_sets.insert("ts".into(), set);
    let body = EntryBody { transform_sets: vec!["ts".into()], ..EntryBody::default() };
    (configuration, CryptoMapEntry { keying: Keying::Isakmp, template_profile: None, body })
}

fn policy(encryption: IsakmpEncryption, hash: IsakmpHash, group: u16) -> IsakmpPolicy {
    IsakmpPolicy {
        encryption,
        hash,
        group: DhGroup(group),
        authentication: AuthenticationMethod::PreShare,
        lifetime: 28_800,
    }
}

#[test]
fn isakmp_policies_become_proposals_in_priority_order() {
    let (mut c, entry) = base();
    c.isakmp_policies.insert(20, policy(IsakmpEncryption::Aes(128), IsakmpHash::Sha256, 14));
    c.isakmp_policies.insert(10, policy(IsakmpEncryption::Aes(256), IsakmpHash::Sha384, 20));
    c.isakmp.keepalive = Some(Keepalive { interval: 10, retry: 2, mode: DpdMode::Periodic });
    let ike = effective_ike(&c, "tohub", 1, &entry).unwrap();
    assert_eq!(ike.proposals.len(), 2);
    assert_eq!(ike.proposals[0].encryption, [IkeEncryption::AesCbc(256)]);
    assert_eq!(ike.proposals[0].prf, [Ikev2Hash::Sha384]);
    assert_eq!(ike.proposals[1].groups, [DhGroup(14)]);
    assert_eq!(ike.lifetime, 28_800);
    assert_eq!(ike.dpd, Some(Dpd { interval: 10, retry: 2, mode: DpdMode::Periodic }));
    assert_eq!(ike.give_up, 120);
}

#[test]
fn no_policy_means_the_built_in_proposals() {
    let (c, entry) = base();
    let ike = effective_ike(&c, "tohub", 1, &entry).unwrap();
    assert_eq!(ike.proposals, built_in_proposals());
    assert_eq!(ike.local_authentication, AuthenticationMethod::PreShare);
}

#[test]
fn weak_policies_refuse_the_entry_and_name_the_remedy() {
    for (encryption, hash, group, word) in [
        (IsakmpEncryption::Des, IsakmpHash::Sha256, 14, "encr aes 256"),
        (IsakmpEncryption::TripleDes, IsakmpHash::Sha256, 14, "encr aes 256"),
        (IsakmpEncryption::Aes(128), IsakmpHash::Md5, 14, "hash sha256"),
        (IsakmpEncryption::Aes(128), IsakmpHash::Sha256, 5, "group 19"),
    ] {
        let (mut c, entry) = base();
        c.isakmp_policies.insert(10, policy(encryption, hash, group));
        let refusal = effective_ike(&c, "tohub", 7, &entry).unwrap_err().to_string();
        assert!(refusal.starts_with("crypto map \"tohub\" 7: isakmp policy 10 uses"), "{refusal}");
        assert!(refusal.contains(word), "{refusal}");
    }
}

#[test]
fn the_most_specific_key_is_taken() {
    let (mut c, entry) = base();
    let key = |text: &str, prefix: Prefix| IsakmpKey {
        key: Secret::new(text),
        peer: KeyAddress::Address(prefix),
        no_xauth: false,
    };
    c.isakmp_keys.push(key("wide", Prefix::v4("0.0.0.0".parse().unwrap(), 0)));
    c.isakmp_keys.push(key("host", Prefix::v4("10.1.1.1".parse().unwrap(), 32)));
    let ike = effective_ike(&c, "tohub", 1, &entry).unwrap();
    assert_eq!(ike.key_for("10.1.1.1".parse().unwrap(), None).unwrap().local.expose(), b"host");
    assert_eq!(ike.key_for("10.2.2.2".parse().unwrap(), None).unwrap().local.expose(), b"wide");
    assert!(!format!("{ike:?}").contains("host\""), "keys are never printed");
}

#[test]
fn a_profile_gives_its_own_parameters_and_incomplete_ones_are_refused() {
    let (mut c, mut entry) = base();
    entry.body.profile = Some(Profile::Ikev2("p".into()));
    assert!(effective_ike(&c, "m", 1, &entry).unwrap_err().to_string().contains("does not exist"));
    c.ikev2_profiles.insert("p".into(), Ikev2Profile::default());
    assert!(effective_ike(&c, "m", 1, &entry).unwrap_err().to_string().contains("match identity remote"));
    let profile = Ikev2Profile {
        remote_identities: vec![RemoteIdentity::FqdnDomain("example.com".into())],
        local_authentication: Some(AuthenticationMethod::PreShare),
        remote_authentication: vec![AuthenticationMethod::PreShare],
        keyring: Some("k".into()),
        dpd: Some(Ikev2Dpd { interval: 20, retry: 5, mode: DpdMode::OnDemand }),
        ..Ikev2Profile::default()
    };
    c.ikev2_profiles.insert("p".into(), profile);
    let mut keyring = Ikev2Keyring::default();
    let key = Ikev2Key { local: Some(Secret::new("00ff")), remote: None, hex: true };
    let address = Some(Prefix::v4("10.1.1.1".parse().unwrap(), 32));
    keyring.peers.insert("hub".into(), KeyringPeer { address, key, ..KeyringPeer::default() });
    c.ikev2_keyrings.insert("k".into(), keyring);
    let ike = effective_ike(&c, "m", 1, &entry).unwrap();
    assert_eq!(ike.dpd.unwrap().interval, 20);
    assert_eq!(ike.keys[0].remote.expose(), [0, 255]);
    let address = "10.1.1.1".parse().unwrap();
    assert!(ike.accepts(address, None, &Identity::Fqdn("hub.example.com".into())));
    assert!(!ike.accepts(address, None, &Identity::Fqdn("hub.badexample.com".into())));
    assert!(!ike.accepts(address, None, &Identity::Address(Some(address))));
}

#[test]
fn sa_parameters_fall_back_to_the_globals_and_then_to_the_defaults() {
    let (mut c, mut entry) = base();
    let plain = effective_ipsec(&c, "m", 1, &entry).unwrap();
    assert_eq!((plain.lifetime_seconds, plain.lifetime_kilobytes), (3600, Some(4_608_000)));
    assert_eq!(plain.replay_window, Some(64));
    c.ipsec.lifetime.seconds = Some(1800);
    c.ipsec.idle_seconds = Some(300);
    entry.body.replay = Some(Replay::Disabled);
    entry.body.lifetime.kilobytes = Some(KilobyteLimit::Disabled);
    let set = effective_ipsec(&c, "m", 1, &entry).unwrap();
    assert_eq!((set.lifetime_seconds, set.lifetime_kilobytes, set.replay_window), (1800, None, None));
    assert_eq!(set.idle, Some(IdleTimer { seconds: 300, to_default: false }));
}

#[test]
fn transform_sets_without_integrity_are_refused() {
    let (mut c, entry) = base();
    c.transform_sets
        .insert("ts".into(), TransformSet { cipher: Some(EspCipher::Aes(256)), ..Default::default() });
    let refusal = effective_ipsec(&c, "m", 1, &entry).unwrap_err().to_string();
    assert!(refusal.contains("esp-sha256-hmac"), "{refusal}");
}
