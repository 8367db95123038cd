//! Criterion benchmarks and the measurement harness that they share.
