//! Pasting crypto-map lines: lines a second through the shell and the gateway, on segments in
//! memory, as a block and as a burst of requests. The time for a line must not depend on the number
//! of lines.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark's entry points, which fail by panicking")]

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use config::control::{Format, Request, Response};
use config::edit::Offline;
use config::model::InterfaceName;
use config::shell::Shell;
use controlplane::checkpoint::Memory;
use controlplane::clock::Scale;
use controlplane::gateway::Gateway;
use controlplane::operator::{Facts, Operator};
use controlplane::pki::Material;
use controlplane::plan::{Derived, Device, Devices};
use controlplane::room::demand;
use controlplane::tables::Tables;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ike::{Endpoint, EndpointConfig, RandomSpis, SystemRandom};
use sa_table::{Capacities, Locking, Segments};

const NOW: Duration = Duration::from_secs(100);

/// Lines of one entry.
const LINES_OF_ENTRY: u32 = 4;

/// A gateway without crypto-map entries, with an access list for each of `entries`.
fn base(entries: u32) -> String {
    let mut text = String::from(
        "crypto isakmp key k address 0.0.0.0 0.0.0.0\ncrypto isakmp policy 10\n encryption aes 256\n hash sha256\n \
         authentication pre-share\n group 19\ncrypto ipsec transform-set ts esp-gcm\ninterface GigabitEthernet0/1\n \
         device outside\n crypto map tohub\n",
    );
    for number in 1..=entries {
        let (high, low) = (number >> 8, number & 255);
        let _ = writeln!(
            text,
            "ip access-list extended L{number}\n permit ip 192.168.0.0 0.0.255.255 10.{high}.{low}.0 0.0.0.255"
        );
    }
    text
}

/// The lines that are pasted.
fn lines(entries: u32) -> Vec<String> {
    (1..=entries)
        .flat_map(|number| {
            [
                format!("crypto map tohub {number} ipsec-isakmp"),
                format!("set peer 172.16.{}.{}", number >> 8, number & 255),
                "set transform-set ts".to_owned(),
                format!("match address L{number}"),
            ]
        })
        .collect()
}

/// A session in configuration mode on a gateway of its own.
struct Bench {
    gateway: Gateway,
    facts: Facts,
    shell: Shell,
    _segments: Segments,
}

impl Bench {
    fn new(base: &str, capacities: Capacities) -> Self {
        let segments = Segments::create(capacities, Locking::Never).expect("memory for segments");
        let writer = segments.table_writer().expect("the table");
        let reader = segments.runtime_reader().expect("the runtime segment");
        let table = Tables::new(writer, reader, &Memory::default());
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Box::new(SystemRandom), Box::new(RandomSpis::default()));
        let mut gateway = Gateway::new(endpoint, table, Scale::default(), Memory::default());
        let loaded = config::file::parse("base", base, &mut Offline).expect("a legal configuration");
        let device = Device { ifindex: 3, mtu: 1500, addresses: vec![[10, 9, 9, 9].into()], up: true };
        let outside = InterfaceName::parse("Gi0/1").expect("a name");
        gateway.configure(NOW, loaded.configuration, Devices::from([(outside, device)]));
        let facts = Facts {
            run_dir: "/nonexistent".into(),
            config_file: "/nonexistent/config".into(),
            started: Instant::now(),
            log: VecDeque::new(),
            time_scale: 1,
            material: Material::default(),
            interfaces_wait: false,
            debugs_ike: false,
            brought_up: None,
        };
        let mut bench = Bench { gateway, facts, shell: Shell::new(15), _segments: segments };
        bench.send([line("configure terminal".to_owned())]);
        bench
    }

    fn send(&mut self, requests: impl IntoIterator<Item = Request>) -> Vec<Response> {
        let mut operator = Operator {
            gateway: &mut self.gateway,
            facts: &mut self.facts,
            now: NOW,
            kernel_is_stale: &mut false,
            sessions: 1,
            session: 1,
        };
        let mut replies = Vec::new();
        for request in requests {
            replies.extend(operator.request(&mut self.shell, request).replies);
        }
        replies.extend(operator.flush(&mut self.shell).replies);
        replies
    }

    fn check(&self, entries: u32) {
        let map = self.gateway.configuration().crypto_maps.get("tohub");
        assert_eq!(map.map_or(0, |map| map.entries.len()), entries as usize, "every entry is configured");
    }
}

fn line(line: String) -> Request {
    Request::Line { line, format: Format::Text }
}

fn paste(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("configure/crypto-map-lines");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for count in [1_000u32, 10_000] {
        let entries = count / LINES_OF_ENTRY;
        let (base, lines) = (base(entries), lines(entries));
        let whole = format!("{base}{}\n", lines.join("\n"));
        let whole = config::file::parse("whole", &whole, &mut Offline).expect("a legal configuration");
        let capacities = Capacities::for_demand(&demand(&whole.configuration, &Derived::default()));
        group.throughput(Throughput::Elements(count.into()));
        group.bench_with_input(BenchmarkId::new("block", count), &lines, |bencher, lines| {
            bencher.iter_batched(
                || (Bench::new(&base, capacities), Request::Block { lines: lines.clone(), stops: true }),
                |(mut bench, block)| {
                    let replies = bench.send([block]);
                    assert!(replies[0].status.is_ok(), "no line is refused");
                    bench.check(entries);
                    bench
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_with_input(BenchmarkId::new("burst", count), &lines, |bencher, lines| {
            bencher.iter_batched(
                || (Bench::new(&base, capacities), lines.iter().cloned().map(line).collect::<Vec<_>>()),
                |(mut bench, requests)| {
                    let replies = bench.send(requests);
                    assert!(replies.len() == lines.len() && replies.iter().all(|reply| reply.status.is_ok()));
                    bench.check(entries);
                    bench
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, paste);
criterion_main!(benches);
