//! Limits: the text of a page and the corresponding text of the code, so that a change of one
//! requires the other.

use crate::repository::Repository;

/// Page, its words, directory of the code, its words.
type Limit = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const LIMITS: &[Limit] = &[
    ("docs/af_xdp.md", "one 4096-byte frame", "crates/af_xdp/", "const FRAME_SIZE: usize = 4096;"),
    ("docs/af_xdp.md", "reserves 256 bytes before a packet", "crates/af_xdp/", "const MIN_HEADROOM: usize = 256;"),
    ("ARCHITECTURE.md", "Frames: 4096 bytes in UMEM, at least 256 bytes of headroom", "crates/af_xdp/", "const MIN_HEADROOM: usize = 256;"),
    ("docs/closed.md", "for `--hung-after` seconds (20)", "", "value_name = \"SECONDS\", default_value_t = 20, env = \"TOHUB_HUNG_AFTER\""),
    ("docs/closed.md", "beats once a second", "crates/sa_table/", "const PULSE_PERIOD: Duration = Duration::from_secs(1);"),
    ("docs/closed.md", "in the last three seconds", "dataplane/", "const WORKER_PATIENCE_MS: u64 = 3000;"),
    ("docs/cli.md", "after 50 ms, then twice as long each time up to 10 s", "", "const LONGEST_DELAY: Duration = Duration::from_secs(10);"),
    ("docs/cli.md", "(20; a start may take 120)", "", "const STARTING: Duration = Duration::from_secs(120);"),
    ("docs/cli.md", "ends within 5 s with a code", "", "const YOUNG: Duration = Duration::from_secs(5);"),
    ("docs/config.md", "`crypto ike give-up <5-600>`", "crates/config/", "give-up / <seconds:5-600>"),
    ("docs/config.md", "NAT keepalives go out every 20 s", "crates/ike/", "nat_keepalive: Some(Duration::from_secs(20)),"),
    ("docs/config.md", "from 256 half-open IKE SAs on", "crates/ike/", "cookie_threshold: Some(256),"),
    ("docs/controlplane.md", "Control connections: 64", "controlplane/", "const MAX_SESSIONS: usize = 64;"),
    ("docs/controlplane.md", "History: 1000 transitions", "controlplane/", "const HISTORY: usize = 1000;"),
    ("docs/controlplane.md", "Log lines about unknown SPIs: 5 a second", "controlplane/", "invalid_spi: RateLimit::new(5),"),
    ("docs/controlplane.md", "warnings of IKE: 20 a second each", "controlplane/", "warnings: RateLimit::new(20),"),
    ("docs/controlplane.md", "at most once in 10 s", "controlplane/", "const CYCLE_INTERVAL: Duration = Duration::from_secs(10);"),
    ("docs/controlplane.md", "Temporary entries: 4096", "crates/config/", "const MAX_TEMPORARIES: u64 = 4096;"),
    ("docs/controlplane.md", "pairs of hosts: 1024 an entry", "crates/config/", "const MAX_HOSTS_OF_ENTRY: u64 = 1024;"),
    ("docs/controlplane.md", "from number 65536 on", "controlplane/", "const FIRST_TEMPORARY: u32 = 65_536;"),
    ("docs/controlplane.md", "33 microseconds for each policy, pair and session", "controlplane/", "const PAUSE_PER_ITEM: Duration = Duration::from_micros(33);"),
    ("docs/controlplane.md", "at the latest after 50 ms", "controlplane/", "const PATIENCE: Duration = Duration::from_millis(50);"),
    ("docs/dataplane.md", "64 per policy, 512 per worker, 10 s", "dataplane/", "HoldLimits { packets: 512, per_policy: 64, expiry_ms: 10_000 }"),
    ("docs/dataplane.md", "32 per neighbour, 256 per worker, 3 s", "dataplane/", "const UNRESOLVED: u32 = 256;"),
    ("docs/dataplane.md", "32 per neighbour, 256 per worker, 3 s", "dataplane/", "const UNRESOLVED_PER_NEIGHBOUR: u32 = 32;"),
    ("docs/dataplane.md", "32 per neighbour, 256 per worker, 3 s", "dataplane/", "const UNRESOLVED_MS: u64 = 3000;"),
    ("docs/dataplane.md", "1024 beyond the ring", "dataplane/", "const TX_BACKLOG: usize = 1024;"),
    ("docs/dataplane.md", "64 per worker, 16 per source, 16 fragments each, 3 s", "dataplane/", "const PACKETS: usize = 64;"),
    ("docs/dataplane.md", "64 per worker, 16 per source, 16 fragments each, 3 s", "dataplane/", "const PACKETS_OF_SOURCE: usize = 16;"),
    ("docs/dataplane.md", "64 per worker, 16 per source, 16 fragments each, 3 s", "dataplane/", "const FRAGMENTS: usize = 16;"),
    ("docs/dataplane.md", "| mailbox, punt queue | 1024 each |", "dataplane/", "const QUEUE: usize = 1024;"),
    ("docs/dataplane.md", "| unknown-SPI reports | 10 a second and worker |", "dataplane/", "const UNKNOWN_REPORT_MS: u64 = 100;"),
    ("docs/dataplane.md", "| reports of filter matches | 10 a second and worker |", "dataplane/", "const PER_SECOND: u16 = 10;"),
    ("docs/dataplane.md", "Limited to 200 a second and worker", "dataplane/", "const RATE: u64 = 200;"),
    ("docs/dataplane.md", "after a tick of 100 ms", "dataplane/", "const TICK_MS: u64 = 100;"),
    ("docs/dataplane-host.md", "MTU above 3400", "dataplane/", "const LARGEST_MTU: u32 = 3400;"),
    ("docs/ebpf.md", "64 ports that carry packets", "ebpf/abi/", "const MAX_PORTS: u32 = 64;"),
    ("docs/ebpf.md", "64 queues each", "ebpf/abi/", "const MAX_QUEUES: u32 = 64;"),
    ("docs/ebpf.md", "8192 rules of one list", "ebpf/abi/", "const MAX_RULES: u32 = 16_384;"),
    ("docs/ebpf.md", "131072 prefixes of each IP version", "ebpf/abi/", "const MAX_PREFIXES: u32 = 262_144;"),
    ("docs/ebpf.md", "4096 devices with an entry of their own", "ebpf/abi/", "const MAX_ENTRIES: u32 = 4096;"),
    ("docs/esp.md", "at most 32 messages on the stack", "crates/esp/", "const BURST: usize = 32;"),
    ("docs/esp.md", "N a power of two from 64 to 4096", "crates/esp/", "const MAX_SIZE: u32 = 4096;"),
    ("docs/preferred-peer.md", "(5 to 600 seconds)", "crates/config/", "give-up / <seconds:5-600>"),
    ("docs/preferred-peer.md", "the stock value is two minutes", "crates/ike/", "give_up: Duration::from_secs(120),"),
    ("docs/preferred-peer.md", "five more at intervals", "controlplane/", "const RETRIES: u32 = 5;"),
    ("docs/preferred-peer.md", "first 16 addresses", "controlplane/", "const MAX_ADDRESSES: usize = 16;"),
    ("docs/preferred-peer.md", "No answer within 10 seconds", "controlplane/", "const PATIENCE: Duration = Duration::from_secs(10);"),
    ("docs/sa_table.md", "in blocks of 2^16", "crates/sa_table/", "const BLOCK: u64 = 1 << 16;"),
    ("docs/sa_table.md", "more than 1048576 permits, 8000000 rules", "crates/config/", "const MAX_RULES: u64 = 8_000_000;"),
    ("docs/wire.md", "more than eight extension headers", "crates/wire/", "const MAX_EXTENSION_HEADERS: usize = 8;"),
];

#[test]
fn limits_are_those_of_the_code() {
    let repository = Repository::read();
    let mut wrong = Vec::new();
    for (page, words, directory, code) in LIMITS {
        if !in_one_line(&repository.text(page)).contains(words) {
            wrong.push(format!("{page} does not say: {words}"));
        }
        if !repository.rust(directory).any(|path| in_one_line(&repository.text(path)).contains(code)) {
            wrong.push(format!("{page} says: {words}; no file below {directory:?} has: {code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
