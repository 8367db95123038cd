//! The `tohub-controlplane` process.

fn main() {}
