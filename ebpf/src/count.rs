//! Counting, one value for each CPU.

use ebpf_abi::Counter;

use crate::maps::COUNTERS;

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is this CPU's own element, which the lookup checked; programs do not migrate while running.
        unsafe { *value += 1 };
    }
}
