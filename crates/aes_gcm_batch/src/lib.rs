//! AES-GCM over bursts of packets with the CPU's vector instructions.
