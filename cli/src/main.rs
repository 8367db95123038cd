//! The `tohub` command.

fn main() {}
