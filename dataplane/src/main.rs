//! The `tohub-dataplane` process.

fn main() {}
