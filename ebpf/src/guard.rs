//! The guard: two tcx programs on every device, which drop what may only travel sealed. What each device is closed by says
//! its entry in `PORTS`.

pub mod arrival;
pub mod departure;
mod rules;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use ebpf_abi::{Counter, DEFAULT_PORT, PORT_COARSE, PORT_RAW_IP, PortConfig};

use crate::count::count;
use crate::maps::PORTS;

struct Entry(PortConfig);

impl Entry {
    /// The device's own entry, else the one of everywhere. Without both, protected prefixes are closed by address class.
    #[inline(always)]
    fn of(ifindex: u32) -> Self {
        // SAFETY: the value is copied at once; a concurrent update replaces the whole element.
        let own = unsafe { PORTS.get(ifindex) }.copied();
        if let Some(own) = own {
            return Self(own);
        }
        // SAFETY: as above.
        let everywhere = unsafe { PORTS.get(DEFAULT_PORT) }.copied();
        Self(everywhere.unwrap_or(PortConfig { flags: PORT_COARSE, ..PortConfig::default() }))
    }

    #[inline(always)]
    fn is_raw_ip(&self) -> bool {
        self.0.flags & PORT_RAW_IP != 0
    }

    #[inline(always)]
    fn is_coarse(&self) -> bool {
        self.0.flags & PORT_COARSE != 0
    }

    /// Whether anything can be dropped by its addresses.
    #[inline(always)]
    fn is_closed(&self) -> bool {
        self.is_coarse() || self.0.rule_count > 0
    }
}

#[inline(always)]
fn ifindex(context: &TcContext) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { (*context.skb.skb).ifindex }
}

#[inline(always)]
fn pass(counter: Counter) -> i32 {
    count(counter);
    // Not TC_ACT_OK: that would keep the programs behind this one from running.
    TC_ACT_UNSPEC
}

#[inline(always)]
fn drop(counter: Counter) -> i32 {
    count(counter);
    TC_ACT_SHOT as i32
}
