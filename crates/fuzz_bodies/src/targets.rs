//! The list of targets; `fuzz/fuzz_targets` has a file for each.

/// A target: its name, which is that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target whose body is here.
pub const TARGETS: &[Target] = &[
    ("wire", crate::headers::wire),
    ("ike_message", crate::messages::ike_message),
    ("ike_endpoint", crate::endpoint::ike_endpoint),
    ("ike_checkpoint", crate::messages::ike_checkpoint),
    ("configuration", crate::configuration::configuration),
    ("cli", crate::configuration::cli),
    ("control", crate::control::control),
    ("memory", crate::control::memory),
    ("segments", crate::segments::segments),
];
