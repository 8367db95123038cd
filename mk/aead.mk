.PHONY: bench-aead test-aead

# Criterion's statistics into target/bench/aead-criterion.txt; then the table against the CPU's limit and other libraries,
# target/bench/aead.json, and how many targets were met. The timing-leak test is `cargo bench -p tohub-benches --bench aead_dudect`.
bench-aead:
	@mkdir -p target/bench
	@$(CARGO) bench --quiet --profile release -p tohub-benches --bench aead_criterion > target/bench/aead-criterion.txt
	@$(CARGO) bench --quiet --profile release -p tohub-benches --bench aead

# Vectors, forgeries and guard pages, optimised, the kernel under valgrind with its secrets undefined, then ten million random packets through
# every back end of this CPU.
test-aead:
	@$(CARGO) test --quiet --profile vectors -p aes_gcm_batch
	@CARGO="$(CARGO)" scripts/aead-memcheck.sh
	@$(CARGO) run --quiet --profile vectors -p aes_gcm_batch --example differential -- 10000000
