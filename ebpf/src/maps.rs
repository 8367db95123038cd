//! The maps. Names and values: `ebpf_abi`. The loader pins them, so they outlive the process.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, XskMap};
use ebpf_abi::{
    ClearFlow, Counter, FragmentKey, GuardRule, MAX_ELSEWHERE, MAX_ENTRIES, MAX_PORTS, MAX_PREFIXES,
    MAX_QUEUES, MAX_RULES, PortConfig,
};

#[map]
pub static META: Array<u32> = Array::with_max_entries(1, 0);

#[map]
pub static XSKS: XskMap = XskMap::with_max_entries(MAX_PORTS * MAX_QUEUES, 0);

#[map]
pub static PORTS: HashMap<u32, PortConfig> = HashMap::with_max_entries(MAX_ENTRIES, 0);

#[map]
pub static CLASSES_V4: LpmTrie<[u32; 1], u32> = LpmTrie::with_max_entries(MAX_PREFIXES, BPF_F_NO_PREALLOC);

#[map]
pub static CLASSES_V6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(MAX_PREFIXES, BPF_F_NO_PREALLOC);

#[map]
pub static RULES: Array<GuardRule> = Array::with_max_entries(MAX_RULES, 0);

#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

#[map]
pub static IKE_FRAGMENTS: LruHashMap<FragmentKey, u64> = LruHashMap::with_max_entries(1024, 0);

#[map]
pub static ELSEWHERE: LruHashMap<ClearFlow, u64> = LruHashMap::with_max_entries(MAX_ELSEWHERE, 0);
