.PHONY: bench-aead test-aead

# The AEAD kernel against the CPU's limit and other libraries: a table, target/bench/aead.json, and how many targets were met.
# Criterion's view of the same lines is `cargo bench -p tohub-benches --bench aead_criterion`, the timing-leak test `--bench aead_dudect`.
bench-aead:
	@$(CARGO) bench --quiet --profile release -p tohub-benches --bench aead

# Vectors, forgeries and guard pages in release mode, then ten million random packets through every back end of this CPU.
test-aead:
	@$(CARGO) test --quiet --release -p aes_gcm_batch
	@$(CARGO) run --quiet --release -p aes_gcm_batch --example differential -- 10000000
