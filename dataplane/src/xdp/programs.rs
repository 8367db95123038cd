//! The loaded programs of one instance, and every write to their maps.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use ebpf_abi::{
    ABI, ClearFlow, Counter, DEFAULT_PORT, GuardRule, MAX_QUEUES, PORT_COARSE, PORT_RAW_IP, PortConfig, map,
};

use super::attach::{self, Attached, Device, DeviceQuery, Hook};
use super::classes::{Classes, inherited};
use super::coarsen::fitting;
use super::error::{XdpError, errno};
use super::loaded::Loaded;
use super::pins::{MapShape, PinFolder};
use super::policy::{HALF, KernelPolicy};
use super::rules::words;
use super::standing::{StandingRules, moved};

/// Built by `ebpf/build.sh`; `--check` there verifies that the object matches the sources.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/tohub-ebpf.o"));

/// Programs and maps of an instance. Dropping it leaves everything attached.
pub struct Programs {
    folder: PinFolder,
    loaded: Loaded,
    xsks: XskMap<MapData>,
    ports: HashMap<MapData, u32, PortConfig>,
    classes_v4: LpmTrie<MapData, [u32; 1], u32>,
    classes_v6: LpmTrie<MapData, [u32; 4], u32>,
    rules: Array<MapData, GuardRule>,
    counters: PerCpuArray<MapData, u64>,
    elsewhere: HashMap<MapData, ClearFlow, u64>,
}

impl Programs {
    /// Loads both programs; takes over the maps that an earlier process pinned, with their
    /// contents.
    ///
    /// # Errors
    /// No capability, a kernel without eBPF, no memory, or pins that are not ours
    /// ([`XdpError::StalePin`]).
    pub fn load(instance: &str) -> Result<Self, XdpError> {
        let folder = PinFolder::create(instance)?;
        let object = aya_shapes()?;
        folder.check_maps(|name| object.get(name).copied())?;
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, folder.path().join(name));
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| XdpError::from_ebpf(&error))?;
        check_abi(&mut ebpf, &folder)?;
        let loaded = Loaded::take(&mut ebpf, &folder, &folder.map_ids()?)?;
        Ok(Self {
            xsks: take(&mut ebpf, map::XSKS)?,
            ports: take(&mut ebpf, map::PORTS)?,
            classes_v4: take(&mut ebpf, map::CLASSES_V4)?,
            classes_v6: take(&mut ebpf, map::CLASSES_V6)?,
            rules: take(&mut ebpf, map::RULES)?,
            counters: take(&mut ebpf, map::COUNTERS)?,
            elsewhere: take(&mut ebpf, map::ELSEWHERE)?,
            folder,
            loaded,
        })
    }

    /// Attaches both programs of the guard to a device, which is then judged by its own entry or by
    /// the default entry. Programs that are attached already are updated.
    ///
    /// # Errors
    /// The device does not exist, or a pin belongs to something else.
    pub fn guard(&mut self, ifindex: u32, name: &str) -> Result<(), XdpError> {
        let device = Device { ifindex, name };
        for hook in Hook::BOTH {
            attach::guard(self.loaded.guard(hook), hook, device, &self.folder)?;
        }
        Ok(())
    }

    /// Whether both programs of the guard run on a device. Another process may have detached them.
    #[must_use]
    pub fn is_guarded(&mut self, ifindex: u32, name: &str) -> bool {
        let device = Device { ifindex, name };
        Hook::BOTH
            .into_iter()
            .all(|hook| attach::acts(self.loaded.guard(hook), hook, device).unwrap_or(false))
    }

    /// Attaches the ingress program to a data-plane port that is guarded already; a program that is
    /// attached already is updated.
    ///
    /// # Errors
    /// The device does not exist or has another program, or a pin belongs to something else.
    pub fn steer(&mut self, ifindex: u32, name: &str, query: &dyn DeviceQuery) -> Result<Attached, XdpError> {
        let device = Device { ifindex, name };
        attach::ingress(&mut self.loaded.ingress, device, &self.folder, query)
    }

    /// The kernel's ID of the loaded ingress program.
    #[must_use]
    pub fn ingress_id(&mut self) -> Option<u32> {
        Some(self.loaded.ingress.info().ok()?.id())
    }

    /// Writes an entry for a device without Ethernet header that appeared after the policy was
    /// prepared. Call it before the guard is attached.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn add_raw_device(&mut self, ifindex: u32) -> Result<(), XdpError> {
        if self.ports.get(&ifindex, 0).is_ok() {
            return Ok(());
        }
        let other = self
            .ports
            .get(&DEFAULT_PORT, 0)
            .unwrap_or(PortConfig { flags: PORT_COARSE, ..PortConfig::default() });
        let raw = PortConfig { flags: other.flags | PORT_RAW_IP, ..other };
        self.ports.insert(ifindex, raw, 0).map_err(|error| XdpError::from_map(map::PORTS, &error))
    }

    /// Whether a former process, or the boot guard, loaded a policy that is still in force.
    #[must_use]
    pub fn has_policy(&self) -> bool {
        self.ports.get(&DEFAULT_PORT, 0).is_ok()
    }

    /// The rules of all crypto maps of the policy in force.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn standing(&self) -> Result<StandingRules, XdpError> {
        let Ok(entry) = self.ports.get(&DEFAULT_PORT, 0) else { return Ok(StandingRules::default()) };
        let rules = (entry.rule_first..entry.rule_first + entry.rule_count)
            .map(|at| {
                let rule = self.rules.get(&at, 0).map_err(|error| XdpError::from_map(map::RULES, &error))?;
                Ok(moved(&rule, entry.rule_first, 0))
            })
            .collect::<Result<_, XdpError>>()?;
        Ok(StandingRules { rules, is_coarse: entry.flags & PORT_COARSE != 0 })
    }

    /// Takes the flows that left in clear by a device without the crypto map that protects them,
    /// with their packets.
    #[must_use]
    pub fn take_elsewhere(&mut self) -> Vec<(ClearFlow, u64)> {
        let flows: Vec<_> = self.elsewhere.iter().flatten().collect();
        for (flow, _) in &flows {
            // The kernel may have evicted it meanwhile.
            let _ = self.elsewhere.remove(flow);
        }
        flows
    }

    /// The pin folder of an instance, if it exists.
    #[must_use]
    pub fn pins_of(instance: &str) -> std::path::PathBuf {
        PinFolder::of(instance).path().to_owned()
    }

    /// The pin folder.
    #[must_use]
    pub fn pins(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// First half of a change of policy: from now on the kernel passes to workers what the old *or*
    /// the new policy protects, and the guard walks the new rules. Call it before workers learn the
    /// new policy.
    ///
    /// # Errors
    /// A map cannot be written. The old policy stays in force.
    pub fn prepare(&mut self, policy: &KernelPolicy) -> Result<(), XdpError> {
        let (new_v4, new_v6) = fitting(&policy.classes);
        let v4 = joined(new_v4, present(&self.classes_v4, v4_number));
        let v6 = joined(new_v6, present(&self.classes_v6, v6_number));
        write_classes(&mut self.classes_v4, &v4, v4_key)?;
        write_classes(&mut self.classes_v6, &v6, v6_key)?;
        let half = self.idle_half();
        for (index, rule) in (half..).zip(&policy.rules) {
            let moved = GuardRule { jump: rule.jump + half, ..*rule };
            self.rules.set(index, moved, 0).map_err(|error| XdpError::from_map(map::RULES, &error))?;
        }
        // Entry 0, the default, is written first, so that there is always an entry for every
        // device.
        for (ifindex, config) in &policy.ports {
            let moved = move_to(config, half);
            self.ports.insert(ifindex, moved, 0).map_err(|error| XdpError::from_map(map::PORTS, &error))?;
        }
        // A remaining old entry would refer to rules of the other half, which the next change
        // overwrites. Its device uses the default entry from now on.
        let known: BTreeSet<u32> = self.ports.keys().flatten().collect();
        for ifindex in known.iter().filter(|ifindex| !policy.ports.contains_key(ifindex)) {
            ignore_absent(self.ports.remove(ifindex))
                .map_err(|error| XdpError::from_map(map::PORTS, &error))?;
        }
        Ok(())
    }

    /// Second half: removes what only the old policy protected. Call it when every worker uses the
    /// new policy.
    ///
    /// # Errors
    /// A map that cannot be written; remaining entries protect too much, not too little.
    pub fn commit(&mut self, policy: &KernelPolicy) -> Result<(), XdpError> {
        let (v4, v6) = fitting(&policy.classes);
        write_classes(&mut self.classes_v4, &inherited(&v4), v4_key)?;
        write_classes(&mut self.classes_v6, &inherited(&v6), v6_key)?;
        for (address, length) in stale_keys(present(&self.classes_v4, v4_number), &v4) {
            remove_class(&mut self.classes_v4, &v4_key(address, length))?;
        }
        for (address, length) in stale_keys(present(&self.classes_v6, v6_number), &v6) {
            remove_class(&mut self.classes_v6, &v6_key(address, length))?;
        }
        Ok(())
    }

    /// Sets the socket of a queue of the port at `place`: from now on packets reach a worker.
    ///
    /// # Errors
    /// The queue is beyond what the map holds, or the descriptor is no bound AF_XDP socket.
    pub fn set_socket(&mut self, place: u32, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        if queue >= MAX_QUEUES {
            return Err(XdpError::TooMany {
                what: "queues of one port",
                count: queue as usize + 1,
                limit: MAX_QUEUES as usize,
            });
        }
        self.xsks
            .set(place * MAX_QUEUES + queue, socket.as_raw_fd(), 0)
            .map_err(|error| XdpError::from_map(map::XSKS, &error))
    }

    /// Removes all sockets at `place`: packets for them are dropped. (The kernel does the same for
    /// a socket that is closed.)
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn clear_sockets(&mut self, place: u32) -> Result<(), XdpError> {
        for queue in 0..MAX_QUEUES {
            ignore_absent(self.xsks.unset(place * MAX_QUEUES + queue))
                .map_err(|error| XdpError::from_map(map::XSKS, &error))?;
        }
        Ok(())
    }

    /// The counters of the programs since the maps were created, summed over all CPUs.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, XdpError> {
        (0_u32..)
            .zip(Counter::ALL)
            .map(|(index, counter)| {
                let values = self
                    .counters
                    .get(&index, 0)
                    .map_err(|error| XdpError::from_map(map::COUNTERS, &error))?;
                Ok((counter.name(), values.iter().sum()))
            })
            .collect()
    }

    /// The loaded ingress program, for tests that run it on packets of their own.
    pub fn ingress_program(&mut self) -> &mut Xdp {
        &mut self.loaded.ingress
    }

    /// The loaded guard of transmitted packets, for tests that run it on packets of their own.
    pub fn departure_program(&mut self) -> &mut SchedClassifier {
        &mut self.loaded.departure
    }

    /// The loaded guard of received packets, for tests that run it on packets of their own.
    pub fn arrival_program(&mut self) -> &mut SchedClassifier {
        &mut self.loaded.arrival
    }

    /// The half of the rule table that no entry refers to.
    fn idle_half(&self) -> u32 {
        let refers_to_first = |port: &PortConfig| {
            (port.rule_count > 0 && port.rule_first < HALF)
                || (port.watch_count > 0 && port.watch_first < HALF)
        };
        if self.ports.iter().flatten().any(|(_, port)| refers_to_first(&port)) { HALF } else { 0 }
    }
}

/// Source and destination of a flow of the map `ELSEWHERE`.
#[must_use]
pub fn addresses(flow: &ClearFlow) -> (std::net::IpAddr, std::net::IpAddr) {
    let address = |words: [u32; 4]| match flow.version {
        4 => std::net::Ipv4Addr::from_bits(v4_number([words[0]])).into(),
        _ => std::net::Ipv6Addr::from_bits(v6_number(words)).into(),
    };
    (address(flow.source), address(flow.destination))
}

fn move_to(config: &PortConfig, half: u32) -> PortConfig {
    PortConfig { rule_first: config.rule_first + half, watch_first: config.watch_first + half, ..*config }
}

/// Refuses maps of the same shape whose ABI version differs.
fn check_abi(ebpf: &mut Ebpf, folder: &PinFolder) -> Result<(), XdpError> {
    let mut meta: Array<MapData, u32> = take(ebpf, map::META)?;
    let found = meta.get(&0, 0).map_err(|error| XdpError::from_map(map::META, &error))?;
    match found {
        ABI => Ok(()),
        0 => meta.set(0, ABI, 0).map_err(|error| XdpError::from_map(map::META, &error)),
        other => Err(XdpError::StalePin {
            path: folder.path().join(map::META),
            reason: format!("maps have ABI {other}, this data plane has {ABI}"),
        }),
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, XdpError>
where
    M: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(XdpError::Object(name))?;
    M::try_from(map).map_err(|error| XdpError::from_map(name, &error))
}

/// The shapes of the maps in the object.
fn aya_shapes() -> Result<BTreeMap<String, MapShape>, XdpError> {
    let object = aya_obj::Object::parse(OBJECT).map_err(|_| XdpError::Object("readable ELF form"))?;
    Ok(object
        .maps
        .iter()
        .map(|(name, map)| {
            let shape = MapShape {
                key: map.key_size(),
                value: map.value_size(),
                entries: map.max_entries(),
                kind: map.map_type(),
            };
            (name.clone(), shape)
        })
        .collect())
}

/// The current entries of the trie, each with its own classes.
fn present<const N: usize, K: Ord>(
    trie: &LpmTrie<MapData, [u32; N], u32>,
    number: fn([u32; N]) -> K,
) -> Classes<K> {
    trie.iter()
        .flatten()
        .filter_map(|(key, bits)| Some(((number(key.data()), u8::try_from(key.prefix_len()).ok()?), bits)))
        .collect()
}

/// The union of both, inherited over both.
fn joined<K: crate::policy::address_bits::AddressBits>(mut new: Classes<K>, old: Classes<K>) -> Classes<K> {
    for (key, bits) in old {
        *new.entry(key).or_default() |= bits;
    }
    inherited(&new)
}

fn write_classes<const N: usize, K: Copy>(
    trie: &mut LpmTrie<MapData, [u32; N], u32>,
    classes: &Classes<K>,
    key: fn(K, u8) -> Key<[u32; N]>,
) -> Result<(), XdpError>
where
    [u32; N]: Pod,
{
    for ((address, length), bits) in classes {
        trie.insert(&key(*address, *length), bits, 0)
            .map_err(|error| XdpError::from_map("CLASSES", &error))?;
    }
    Ok(())
}

fn stale_keys<K: Ord + Copy>(present: Classes<K>, wanted: &Classes<K>) -> Vec<(K, u8)> {
    present.into_keys().filter(|key| !wanted.contains_key(key)).collect()
}

fn remove_class<const N: usize>(
    trie: &mut LpmTrie<MapData, [u32; N], u32>,
    key: &Key<[u32; N]>,
) -> Result<(), XdpError> {
    ignore_absent(trie.remove(key)).map_err(|error| XdpError::from_map("CLASSES", &error))
}

fn ignore_absent(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn v4_key(address: u32, length: u8) -> Key<[u32; 1]> {
    Key::new(u32::from(length), [address.to_be()])
}

fn v4_number([word]: [u32; 1]) -> u32 {
    u32::from_be(word)
}

fn v6_key(address: u128, length: u8) -> Key<[u32; 4]> {
    Key::new(u32::from(length), words(address))
}

fn v6_number(words: [u32; 4]) -> u128 {
    words.iter().fold(0, |number, word| number << 32 | u128::from(u32::from_be(*word)))
}
