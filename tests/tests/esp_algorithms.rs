//! Every transform, transport mode and manual keys on real packets: between two gateways, and with
//! strongSwan's own ESP.

use lab::Result;
use lab::command::wait_for;
use lab::gateway::Gateway;
use lab::namespace::{Namespace, available, connect};
use lab::peer::{Pair, Release, gateway_configuration, installed};
use lab::probe::tcp_transfer;

/// Two gateways on one wire, a host behind each.
struct Two {
    hosts: [Namespace; 2],
    gateways: [Gateway; 2],
}

/// The name in a transform set, and in `show crypto ipsec sa`.
const TRANSFORMS: [(&str, &str); 14] = [
    ("esp-gcm 128", "esp-gcm"),
    ("esp-gcm 192", "esp-gcm 192"),
    ("esp-gcm 256", "esp-gcm 256"),
    ("esp-chacha20-poly1305", "esp-chacha20-poly1305"),
    ("esp-gmac 128", "esp-gmac"),
    ("esp-gmac 256", "esp-gmac 256"),
    ("esp-aes 128 esp-sha-hmac", "esp-aes esp-sha-hmac"),
    ("esp-aes 192 esp-sha256-hmac", "esp-192-aes esp-sha256-hmac"),
    ("esp-aes 256 esp-sha256-hmac", "esp-256-aes esp-sha256-hmac"),
    ("esp-aes 256 esp-sha384-hmac", "esp-256-aes esp-sha384-hmac"),
    ("esp-aes 128 esp-sha512-hmac", "esp-aes esp-sha512-hmac"),
    ("esp-null esp-sha-hmac", "esp-null esp-sha-hmac"),
    ("esp-null esp-sha256-hmac", "esp-null esp-sha256-hmac"),
    ("esp-null esp-sha512-hmac", "esp-null esp-sha512-hmac"),
];

impl Two {
    /// `entry` are the lines of the crypto-map entry of gateway 0 or 1, `head` what stands before
    /// it.
    fn start(head: impl Fn(usize) -> String, permit: impl Fn(usize) -> String) -> Result<Self> {
        let host = |number: usize| Namespace::new(&format!("host{}", number + 1));
        let hosts = [host(0)?, host(1)?];
        let spaces = [Namespace::new("gw1")?, Namespace::new("gw2")?];
        for (place, (host, gateway)) in hosts.iter().zip(&spaces).enumerate() {
            let number = place + 1;
            connect(host, "eth0", gateway, "inside")?;
            host.address("eth0", &format!("192.168.{number}.10/24"))?;
            host.end_host_offloads("eth0")?;
            host.route("default", &format!("192.168.{number}.1"))?;
        }
        // The inner device is created first: the kernel uses the address of the oldest device if no
        // source is selected.
        connect(&spaces[0], "outside", &spaces[1], "outside")?;
        let [first, second] = spaces;
        let start = |space: Namespace, place: usize| {
            let (number, peer) = (place + 1, 2 - place);
            let configuration = format!(
                "hostname gw{number}
crypto ike default-version 2
{}interface GigabitEthernet0/0
 device inside
 ip address 192.168.{number}.1 255.255.255.0
interface GigabitEthernet0/1
 device outside
 ip address 192.0.2.{number} 255.255.255.0
 crypto map tohub
ip route 192.168.{peer}.0 255.255.255.0 192.0.2.{peer}
access-list 101 permit {}
",
                head(place),
                permit(place)
            );
            Gateway::start(space, &configuration, 1)
        };
        Ok(Two { hosts, gateways: [start(first, 0)?, start(second, 1)?] })
    }

    fn ping(&self) -> Result<()> {
        let ping =
            self.hosts[0].run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "-s", "1300", "192.168.2.10"])?;
        assert!(ping.contains("3 received"), "{ping}");
        Ok(())
    }
}

fn networks(place: usize) -> String {
    format!("ip 192.168.{}.0 0.0.0.255 192.168.{}.0 0.0.0.255", place + 1, 2 - place)
}

/// Lines up to the crypto-map entry of a gateway that uses IKE with the other one.
fn by_ike(place: usize, transform: &str, set: &[&str]) -> String {
    let peer = 2 - place;
    let lines: String = set.iter().map(|line| format!(" {line}\n")).collect();
    format!(
        "crypto isakmp key k address 192.0.2.{peer}
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto ipsec transform-set ts {transform}
{lines}crypto map tohub 1 ipsec-isakmp
 set peer 192.0.2.{peer}
 set transform-set ts
 match address 101
"
    )
}

#[test]
fn every_transform_is_negotiated_and_carries_packets_with_and_without_esn() -> Result<()> {
    if !available("every_transform_is_negotiated_and_carries_packets_with_and_without_esn") {
        return Ok(());
    }
    let two = Two::start(|place| by_ike(place, "esp-gcm 128", &[]), networks)?;
    for (typed, shown) in TRANSFORMS {
        for esn in ["esn", "no esn"] {
            for gateway in &two.gateways {
                gateway.configure(&[&format!("crypto ipsec transform-set ts {typed}"), esn])?;
            }
            two.gateways[0].cli("clear crypto sa")?;
            wait_for("the old pair to go", 10, || {
                let sas = two.gateways[1].cli("show crypto ipsec sa").ok()?;
                (!sas.contains("transform: ")).then_some(())
            })?;
            two.ping()?;
            for gateway in &two.gateways {
                let sas = gateway.cli("show crypto ipsec sa")?;
                assert!(sas.contains(&format!("transform: {shown} ,")), "{typed}: {sas}");
            }
        }
    }
    Ok(())
}

#[test]
fn in_transport_mode_the_gateways_themselves_talk() -> Result<()> {
    if !available("in_transport_mode_the_gateways_themselves_talk") {
        return Ok(());
    }
    let hosts = |place: usize| format!("ip host 192.0.2.{} host 192.0.2.{}", place + 1, 2 - place);
    let two =
        Two::start(|place| by_ike(place, "esp-aes 256 esp-sha256-hmac", &["mode transport require"]), hosts)?;
    let gateway = two.gateways[0].namespace();
    assert_eq!(source_of(gateway, "192.0.2.2")?, "192.0.2.1");
    // Larger ones leave the host's own stack in fragments, which transport mode does not protect:
    // docs/compliance.md.
    for size in ["56", "1300"] {
        let ping = gateway.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "-s", size, "192.0.2.2"])?;
        assert!(ping.contains("3 received"), "{ping}");
    }
    // Segments of the wire's MTU are too long for the SA: the host's stack must learn the smaller
    // MTU.
    let transfer = tcp_transfer(gateway, two.gateways[1].namespace(), "192.0.2.2", 7001, 4, 30)?;
    assert!(transfer.intact && transfer.bytes == 4 << 20, "{transfer:?}");
    let sas = two.gateways[0].cli("show crypto ipsec sa")?;
    assert!(sas.contains("in use settings ={Transport, }"), "{sas}");
    Ok(())
}

/// The address that the kernel gives a packet of the gateway's own.
fn source_of(gateway: &Namespace, destination: &str) -> Result<String> {
    let route = gateway.ip(&["route", "get", destination])?;
    Ok(route
        .split(" src ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or(&route)
        .to_owned())
}

#[test]
fn the_gateways_own_packets_have_an_address_that_the_crypto_map_protects() -> Result<()> {
    if !available("the_gateways_own_packets_have_an_address_that_the_crypto_map_protects") {
        return Ok(());
    }
    let two = Two::start(|place| by_ike(place, "esp-gcm 128", &[]), networks)?;
    let gateway = two.gateways[0].namespace();
    assert_eq!(source_of(gateway, "192.168.2.10")?, "192.168.1.1");
    let ping = gateway.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", "192.168.2.10"])?;
    assert!(ping.contains("3 received"), "{ping}");
    let transfer = tcp_transfer(gateway, &two.hosts[1], "192.168.2.10", 7001, 4, 30)?;
    assert!(transfer.intact && transfer.bytes == 4 << 20, "{transfer:?}");
    assert!(two.gateways[0].cli("show crypto ipsec sa")?.contains("transform: esp-gcm ,"));

    // Another permit, for an address that is added later.
    two.gateways[0].configure(&[
        "ip route 192.168.3.0 255.255.255.0 192.0.2.2",
        "access-list 101 permit ip host 192.0.2.7 host 192.168.3.1",
    ])?;
    wait_for("the address of the main table", 10, || {
        (source_of(gateway, "192.168.3.1").ok()? == "192.0.2.1").then_some(())
    })?;
    gateway.ip(&["address", "add", "192.0.2.7/24", "dev", "outside"])?;
    wait_for("the address that is protected", 10, || {
        (source_of(gateway, "192.168.3.1").ok()? == "192.0.2.7").then_some(())
    })?;
    // On a numbered list "no access-list 101 …" would remove the whole list, which is refused,
    // because the map uses it.
    let refused =
        two.gateways[0].configure(&["no access-list 101 permit ip host 192.0.2.7 host 192.168.3.1"]);
    assert!(format!("{refused:?}").contains("access list 101 is used by crypto map tohub 1"), "{refused:?}");
    assert_eq!(source_of(gateway, "192.168.3.1")?, "192.0.2.7");
    let removed = two.gateways[0]
        .configure(&["ip access-list extended 101", "no permit ip host 192.0.2.7 host 192.168.3.1"])?;
    assert!(removed.contains("no longer protected"), "{removed}");
    wait_for("the route to go", 10, || {
        let rules = gateway.ip(&["rule", "show"]).ok()?;
        let routes = gateway.ip(&["route", "show", "table", "all"]).ok()?;
        (!rules.contains("192.168.3.1") && !routes.contains("192.168.3.1")).then_some(())
    })
}

#[test]
fn hand_made_keys_carry_packets_without_ike() -> Result<()> {
    if !available("hand_made_keys_carry_packets_without_ike") {
        return Ok(());
    }
    let head = |place: usize| {
        let key = |direction: &str, spi: usize| {
            let (cipher, authenticator) = (format!("{spi:02x}").repeat(32), "a5".repeat(32));
            format!(
                " set session-key {direction} esp {} cipher {cipher} authenticator {authenticator}\n",
                1000 + spi
            )
        };
        format!(
            "crypto ipsec transform-set ts esp-aes 256 esp-sha256-hmac
crypto map tohub 1 ipsec-manual
 set peer 192.0.2.{}
{}{} set transform-set ts
 match address 101
",
            2 - place,
            key("inbound", 1 + place),
            key("outbound", 2 - place)
        )
    };
    let two = Two::start(head, networks)?;
    two.ping()?;
    let sas = two.gateways[0].cli("show crypto ipsec sa")?;
    assert!(sas.contains("esp-256-aes esp-sha256-hmac") && !sas.contains("a5a5"), "{sas}");
    assert!(!two.gateways[0].cli("show running-config")?.contains("a5a5"), "keys are hidden");
    assert!(!two.gateways[0].log().contains("a5a5"), "keys are not logged");

    let old = two.gateways[0].kill("tohub-controlplane")?;
    two.gateways[0].wait_for_restart("tohub-controlplane", old)?;
    two.ping()
}

#[test]
fn strongswan_6_carries_aes_cbc_with_sha256() -> Result<()> {
    with_strongswan(
        "strongswan_6_carries_aes_cbc_with_sha256",
        "aes128-sha256",
        "esp-aes 128 esp-sha256-hmac",
    )
}

#[test]
fn strongswan_6_carries_chacha20_poly1305() -> Result<()> {
    with_strongswan("strongswan_6_carries_chacha20_poly1305", "chacha20poly1305", "esp-chacha20-poly1305")
}

#[test]
fn strongswan_6_carries_null_with_sha256() -> Result<()> {
    with_strongswan("strongswan_6_carries_null_with_sha256", "null-sha256", "esp-null esp-sha256-hmac")
}

fn with_strongswan(test: &str, esp: &str, transform: &str) -> Result<()> {
    const POLICY: [&str; 4] = ["encryption aes 256", "hash sha256", "authentication pre-share", "group 19"];
    if !installed(test, Release::Six) {
        return Ok(());
    }
    let esp = format!("ESP={esp}");
    let settings = ["IKE=aes256-sha256-ecp256", esp.as_str()];
    let configuration = gateway_configuration(&POLICY, transform, &[]);
    let pair = Pair::start(Release::Six, "ikev2-psk", &settings, &configuration)?;
    let ping = pair.host.run("ping", &["-c", "5", "-i", "0.2", "-W", "3", "-s", "1200", "10.2.0.1"])?;
    assert!(ping.contains("5 received"), "{ping}");
    Ok(())
}
