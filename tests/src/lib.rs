//! End-to-end tests in network namespaces, and the laboratory that they run in.
