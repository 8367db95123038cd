//! The shared-memory tables between the control plane and the data plane.
