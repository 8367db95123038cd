//! Writes the seed corpora to `fuzz/corpus`: valid inputs from which a fuzzer starts.
//! `cargo run -p fuzz_bodies --example seeds`

use std::path::PathBuf;

use fuzz_bodies::peer::{
    IKE_SA_INIT, PEER_SPI, Peer, auth_payloads, chain, endpoint, esp_proposal, init_payloads, ours, plain,
    selector, theirs,
};

fn main() -> std::io::Result<()> {
    let seeds: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("wire", packets()),
        ("ike_message", chains().into_iter().map(with_first).collect()),
        ("ike_endpoint", conversations()),
        ("ike_checkpoint", records()),
        ("configuration", configurations()),
        ("cli", sessions()),
        ("control", messages()),
        ("memory", vec![br#"{"form":1,"policies":[],"pairs":[],"cursors":[]}"#.to_vec()]),
        ("segments", patches()),
    ];
    for (target, inputs) in seeds {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), input)?;
        }
        println!("{target}: {} seeds", inputs.len());
    }
    Ok(())
}

fn with_first((first, octets): (u8, Vec<u8>)) -> Vec<u8> {
    [&[first][..], &octets].concat()
}

/// Chains of payloads: an initiation, proofs, children, rekeyings, deletes, notifies,
/// configuration, fragments.
fn chains() -> Vec<(u8, Vec<u8>)> {
    let nonce = || (40, vec![7; 32]);
    let any = || vec![1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 255, 255, 255, 255];
    let notify = |kind: u16, data: &[u8]| (41, [&[0, 0][..], &kind.to_be_bytes(), data].concat());
    let about_esp =
        |kind: u16, spi: u32| (41, [&[3, 4][..], &kind.to_be_bytes(), &spi.to_be_bytes()].concat());
    let ike_sa = [
        &[0, 0, 0, 44, 1, 1, 8, 3][..],
        &9u64.to_be_bytes(),
        &[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0, 3, 0, 0, 8, 2, 0, 0, 5, 0, 0, 0, 8, 4, 0, 0, 19],
    ]
    .concat();
    let exchange = || (34, [&[0, 19, 0, 0][..], &[4; 64]].concat());
    let six = [&[1, 0, 0, 0, 8, 17, 0, 40, 0, 53, 0, 53][..], &[0x20; 16], &[0x2f; 16]].concat();
    vec![
        init_payloads(),
        auth_payloads(),
        chain(&[(33, esp_proposal(0x2000)), nonce(), (44, any()), (45, any())]),
        chain(&[
            about_esp(16393, 0x1000),
            (33, esp_proposal(0x2001)),
            nonce(),
            exchange(),
            (44, any()),
            (45, any()),
        ]),
        chain(&[(33, ike_sa), nonce(), exchange()]),
        chain(&[(42, vec![3, 4, 0, 1, 0, 0, 0x10, 0])]),
        chain(&[(42, vec![1, 0, 0, 0])]),
        chain(&[]),
        chain(&[notify(16384, &[]), notify(16391, &[]), notify(16430, &[]), notify(16394, &[])]),
        chain(&[
            notify(16390, &[9; 32]),
            notify(17, &[0, 31]),
            notify(14, &[]),
            notify(43, &[]),
            notify(44, &[]),
        ]),
        chain(&[notify(16388, &[1; 20]), notify(16389, &[2; 20]), notify(16431, &[0, 2, 0, 3, 0, 5])]),
        chain(&[(47, vec![1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]), (43, b"vendor".to_vec())]),
        chain(&[(37, [&[4][..], &[0x30; 40]].concat()), (38, [&[4][..], &[1; 20]].concat())]),
        chain(&[(44, six.clone()), (45, six)]),
        chain(&[(53, vec![0, 1, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8])]),
        chain(&[
            (36, vec![2, 0, 0, 0, b'a', b'.', b'b']),
            (39, vec![14, 0, 0, 0, 15, 48, 13]),
            (41, vec![0, 0, 0x40, 0x1f]),
        ]),
    ]
}

fn conversations() -> Vec<Vec<u8>> {
    let record = |kind: u8, octets: &[u8]| {
        let octets = if octets.len() > 255 {
            let padded = octets.len().div_ceil(8) * 8;
            return [&[kind | 0x80, (padded / 8) as u8][..], octets, &vec![0; padded - octets.len()]]
                .concat();
        } else {
            octets
        };
        [&[kind, octets.len() as u8][..], octets].concat()
    };
    let chains: Vec<Vec<u8>> = chains().into_iter().map(with_first).collect();
    let first = plain(IKE_SA_INIT, (PEER_SPI, 0), 0, init_payloads().0, &init_payloads().1);
    let mut conversations = vec![
        [record(0, &chains[2]), record(1, &chains[5]), record(6, &[0xff; 5])].concat(),
        [record(0, &chains[3]), record(1, &chains[5]), record(1, &chains[6])].concat(),
        [record(0, &chains[4]), record(7, &[0]), record(3, &chains[2])].concat(),
        [record(7, &[1]), record(0, &chains[4]), record(3, &chains[4]), record(6, &[1, 2, 3])].concat(),
        [record(7, &[0]), record(0, &chains[3]), record(3, &chains[2]), record(1, &chains[5])].concat(),
        [record(7, &[2]), record(3, &chains[2]), record(7, &[3]), record(3, &chains[5])].concat(),
        [record(7, &[7]), record(3, &chains[0]), record(3, &chains[1])].concat(),
        [record(4, &first), record(5, &first), record(6, &[1; 8])].concat(),
        [record(7, &[5]), record(6, &[9; 4]), record(6, &[9; 4]), record(6, &[9; 4])].concat(),
        [record(7, &[4]), record(3, &chains[7]), record(6, &[0xff; 6])].concat(),
    ];
    conversations.extend(chains.iter().skip(8).map(|chain| record(1, chain)));
    conversations
}

fn records() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut keep = |endpoint: &mut ike::Endpoint| {
        while let Some((_, record)) = endpoint.poll_checkpoint() {
            records.extend(record.map(|record| record.expose().to_vec()));
        }
    };
    // The steps of Peer::established, with the records taken.
    let mut peer = Peer::new();
    let (first, octets) = init_payloads();
    peer.deliver(&plain(IKE_SA_INIT, (PEER_SPI, 0), 0, first, &octets));
    let (first, octets) = auth_payloads();
    let auth = peer.sealed(35, false, 1, first, &octets);
    peer.endpoint.handle_datagram(peer.now, theirs(), ours(), &auth);
    keep(&mut peer.endpoint);
    let info = peer.endpoint.ike_sas().next();
    if let Some(info) = info {
        for command in [
            ike::Command::CreateChild { ike: info.ike, child: ike::ChildRequest::new(ike::ChildTag(1)) },
            ike::Command::RekeyIke { ike: info.ike },
        ] {
            let _ = peer.endpoint.command(peer.now, command);
            keep(&mut peer.endpoint);
        }
    }
    let _ = (endpoint(), selector([0; 4]));
    records
}

fn configurations() -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut texts: Vec<Vec<u8>> =
        ["examples/branch.cfg", "examples/hub.cfg", "examples/branch-ikev2-profile.cfg"]
            .iter()
            .filter_map(|path| std::fs::read(root.join(path)).ok())
            .collect();
    texts.push(b"hostname R1\nno ip domain lookup\nend\n".to_vec());
    texts.push(b"ip access-list extended V\n 10 permit ip 10.1.0.0 0.0.255.255 any\n deny udp any eq 500 any log\n!\n".to_vec());
    texts
}

fn sessions() -> Vec<Vec<u8>> {
    [
        "\u{f}configure terminal\ncrypto map M 10 ipsec-isakmp\n set peer 192.0.2.1 default\n?\n set \t\nend\nshow running-config | include map\n",
        "\u{1}enable\nshow crypto session detail\nsh ver | json\n?\nexit\n",
        "\u{f}conf t\ninterface GigabitEthernet0/1\n ip address 10.0.0.1 255.255.255.0\n no ip address\n do show clock\n\u{1a}\nclear crypto session\n",
        "\u{f}conf t\nip access-list extended A\n permit tcp host 1.2.3.4 range 1 9 any eq 80\n no 10\n?\nexit\nno ip access-list extended A\ncrypto ikev2 keyring K\n peer P\n address 1.1.1.1\n pre-shared-key x\n?\n",
        "\u{f}terminal length 0\nshow crypto ipsec sa peer 1.1.1.1\nshow running-config | section crypto\nreload\nwrite memory\n? \n\t\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn messages() -> Vec<Vec<u8>> {
    [
        r#"{"request":"open","width":80,"privilege":15}"#,
        r#"{"request":"line","line":"show version","format":"json"}"#,
        r#"{"request":"help","line":"show "}"#,
        r#"{"request":"complete","line":"sh"}"#,
        r#"{"request":"end"}"#,
        r#"{"request":"password","text":"secret"}"#,
        r#"{"text":"a\n","status":2,"prompt":"R1#","caret":3,"completions":["show"],"json":{"a":[1,2.5,null]}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn packets() -> Vec<Vec<u8>> {
    let ethernet = |kind: u16, payload: &[u8]| {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), payload].concat()
    };
    let ipv4 = |protocol: u8, payload: &[u8]| {
        let length = ((20 + payload.len()) as u16).to_be_bytes();
        let mut packet = [
            &[0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, protocol, 0, 0][..],
            &[192, 0, 2, 1, 198, 51, 100, 2],
            payload,
        ]
        .concat();
        if let Ok(mut view) = wire::ipv4::Packet::new_checked(&mut packet[..]) {
            view.fill_checksum();
        }
        packet
    };
    let ipv6 = |next: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_be_bytes();
        [&[0x60, 0, 0, 0, length[0], length[1], next, 255][..], &[0x20; 16], &[0x30; 16], payload].concat()
    };
    let udp = [&[0x11, 0x94, 0x11, 0x94, 0, 24, 0, 0][..], &[0, 0, 1, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9]]
        .concat();
    let tcp = [&[0, 80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0][..], &[2, 4, 5, 0xb4]]
        .concat();
    let esp = [&[0, 0, 1, 0, 0, 0, 0, 7][..], &[0x55; 40]].concat();
    let too_big = [&[3, 4, 0, 0, 0, 0, 5, 0x78][..], &ipv4(50, &esp)[..28]].concat();
    let neighbour = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[0xfe; 16], &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
    let hops = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat();
    vec![
        ethernet(0x0800, &ipv4(17, &udp)),
        ethernet(0x0800, &ipv4(6, &tcp)),
        ethernet(0x0800, &ipv4(50, &esp)),
        ethernet(0x0800, &ipv4(1, &too_big)),
        ethernet(0x86dd, &ipv6(58, &neighbour)),
        ethernet(0x86dd, &ipv6(0, &hops)),
        ethernet(0x86dd, &ipv6(44, &[&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp].concat())),
        ethernet(0x8100, &[&[0, 5, 0x08, 0][..], &ipv4(17, &udp)].concat()),
        ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[2; 20]].concat()),
        ipv4(17, &udp),
        ipv6(6, &tcp),
        udp,
    ]
}

fn patches() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        [&[0, 0, 1, 64][..], &[0xff; 64], &[1, 0, 1, 64], &[1; 64]].concat(),
        [&[2, 0, 1, 255][..], &[2; 255], &[3, 0, 1, 64], &[0xff; 64]].concat(),
        (0..64u8)
            .flat_map(|page| [&[0, page * 4, page, 8][..], &[2, 0, 0, 0, 1, 0, 0, 0]].concat())
            .collect(),
    ]
}
