//! Classification of a packet: rule lists of several lengths, the whole decision with and without
//! the flow cache, and the look-up of an SPI.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark's entry points, which fail by panicking")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::lab::{Gateway, INSIDE, OUTSIDE, Site, kernel, packet};
use dataplane::path::classify::{self, Classifier};
use dataplane::path::context::Views;
use dataplane::path::packet::{Origin, Packet};
use dataplane::policy::Policy;
use dataplane::policy::filter::{Filters, Verdicts};
use dataplane::policy::flow::{Flow, Ports, Protocol};
use dataplane::policy::rules::RuleList;
use sa_table::policy::{
    self, Action, FilterList, FilterRule, Masked, PortCondition, PortRecord, Prefix, Rule,
};
use sa_table::record::{
    AddressRange, Encapsulation, EspAlgorithm, InboundSaRecord, KeyMaterial, Lifetime, Mode, PortRange,
    SelectorPair, Selectors, TrafficSelector,
};
use sa_table::{Capacities, Locking, PolicyId, PolicyVersion, Segments};
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

const RULES: [u32; 5] = [1, 10, 100, 1000, 4000];
const FLOWS: u32 = 256;

/// One permit for each destination network, as a hub with many branches has them.
fn rules(count: u32) -> Vec<Rule> {
    let prefix = |address: [u8; 4], length| Prefix { address: IpAddr::from(address), length };
    (0..count)
        .map(|number| Rule {
            source: prefix([10, 1, 0, 0], 16),
            destination: prefix([172, 16 + (number >> 8) as u8, number as u8, 0], 24),
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action: Action::Protect(PolicyId(number)),
        })
        .collect()
}

/// Flows that are spread over the rules.
fn flows(rules: u32) -> Vec<Flow> {
    (0..FLOWS)
        .map(|number| {
            let rule = number.wrapping_mul(2_654_435_761) % rules;
            Flow {
                source: IpAddr::from([10, 1, 0, number as u8]),
                destination: IpAddr::from([172, 16 + (rule >> 8) as u8, rule as u8, 9]),
                protocol: Protocol::Known(6),
                ports: Ports::Known { source: 40_000, destination: 443 },
            }
        })
        .collect()
}

fn acl(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify/acl");
    group.throughput(Throughput::Elements(FLOWS.into()));
    for count in RULES {
        let list = RuleList::compile(&rules(count));
        let flows = flows(count);
        group.bench_function(BenchmarkId::new("match", count), |bencher| {
            bencher.iter(|| verdicts(&list, &flows));
        });
        let strangers: Vec<Flow> = flows.iter().map(Flow::mirrored).collect();
        group.bench_function(BenchmarkId::new("no-match", count), |bencher| {
            bencher.iter(|| verdicts(&list, &strangers));
        });
    }
    group.finish();
}

fn verdicts(list: &RuleList, flows: &[Flow]) {
    for flow in flows {
        black_box(list.outbound(black_box(flow)));
    }
}

fn decision(criterion: &mut Criterion) {
    let count = 1000;
    let port = |id: u16| PortRecord {
        id,
        ifindex: u32::from(id) + 1,
        device: String::new(),
        ios_name: String::new(),
        mtu: 1500,
        has_crypto_map: id == OUTSIDE,
        crypto_addresses: Vec::new(),
        rule_list: (id == OUTSIDE).then_some(0),
        ..PortRecord::default()
    };
    let policy = Policy::compile(PolicyVersion(1), &[port(INSIDE), port(OUTSIDE)], &[rules(count)]);
    let views = Views { kernel: Arc::new(kernel(Site::Left).build()), policy: Arc::new(policy) };
    let flows = flows(count);
    let origin = Origin::Port(INSIDE);
    let mut group = criterion.benchmark_group("classify/decision");
    group.throughput(Throughput::Elements(FLOWS.into()));
    group.bench_function("first-packet", |bencher| {
        bencher.iter(|| {
            for flow in &flows {
                black_box(classify::decide(black_box(flow), origin, &views.kernel, &views.policy));
            }
        });
    });
    let mut classifier = Classifier::new(4096);
    group.bench_function("cached", |bencher| {
        bencher.iter(|| {
            for flow in &flows {
                black_box(classifier.decide(black_box(flow), origin, &views));
            }
        });
    });
    group.finish();
}

/// Lists of which only the last line matches the packet, by line count; and the cost per packet
/// without filters.
fn filter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify/filter");
    let gateway = Gateway::new(Site::Left, 1, 64);
    let mut pool = gateway.umem.pool(8, 8);
    let mut frame = pool.take().expect("a frame");
    frame.append(&packet(IpAddr::from([10, 1, 0, 5]), IpAddr::from([172, 16, 9, 9]), 100)).expect("room");
    let packet = Packet::from_ip(frame, Origin::Port(INSIDE)).expect("a packet");
    group.bench_function("none", |bencher| {
        let filters = Filters::default();
        bencher.iter(|| black_box(&filters).is_empty());
    });
    for count in [1u32, 10, 100, 1000] {
        let deny = |number: u32| FilterRule {
            permit: false,
            destination: Masked { value: 0xac10_0000 | number << 8, mask: 0xffff_ff00 },
            destination_ports: PortCondition { range: PortRange::single(9), inverted: false },
            ..FilterRule::PERMIT_ANY
        };
        let mut rules: Vec<FilterRule> = (1..count).map(deny).collect();
        rules.push(FilterRule::PERMIT_ANY);
        let list = FilterList { name: "120".into(), rules };
        let published = policy::Filters { lists: vec![list], bindings: Vec::new() };
        let filters = Filters::compile(&published, &[], 1, &Filters::default());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| black_box(&filters).ruling(0, black_box(&packet.ip), packet.frame.bytes()));
        });
        let mut verdicts = Verdicts::new(4096);
        group.bench_function(BenchmarkId::new("remembered", count), |bencher| {
            let version = PolicyVersion(1);
            bencher.iter(|| {
                black_box(&filters).remembered_ruling(
                    0,
                    black_box(&packet.ip),
                    packet.frame.bytes(),
                    version,
                    &mut verdicts,
                )
            });
        });
    }
    group.finish();
}

fn spi(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify/spi");
    group.throughput(Throughput::Elements(FLOWS.into()));
    for count in [1, 100, 4000] {
        let segments = Segments::create(Capacities::default(), Locking::BestEffort).expect("segments");
        let mut table = segments.table_writer().expect("table");
        let policy = table.allocate_policy().expect("policy");
        let spis: Vec<u32> =
            (0..count).map(|number: u32| number.wrapping_mul(2_654_435_761) | 0x100).collect();
        for spi in &spis {
            table.install_inbound(&record(*spi, policy)).expect("slot");
        }
        let reader = segments.table_reader().expect("reader");
        let looked_up: Vec<u32> = spis.iter().copied().cycle().take(FLOWS as usize).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                for spi in &looked_up {
                    black_box(reader.lookup_spi(black_box(*spi)));
                }
            });
        });
    }
    group.finish();
}

fn record(spi: u32, policy: PolicyId) -> InboundSaRecord {
    let any = TrafficSelector {
        addresses: AddressRange { first: IpAddr::from([0, 0, 0, 0]), last: IpAddr::from([255; 4]) },
        ports: PortRange::ANY,
    };
    InboundSaRecord {
        spi,
        local: IpAddr::from([192, 0, 2, 1]),
        peer_address: IpAddr::from([192, 0, 2, 2]),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::None,
        keys: KeyMaterial::new(EspAlgorithm::AesGcm128, &[1; 16], &[], &[2; 4]).expect("key"),
        esn: true,
        replay_window: 64,
        selectors: Selectors::single(SelectorPair { protocol: None, local: any, remote: any }),
        policy,
        peer: None,
        lifetime: Lifetime::default(),
    }
}

criterion_group!(benches, acl, decision, filter, spi);
criterion_main!(benches);
