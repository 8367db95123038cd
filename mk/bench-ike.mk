# Full IKE handshakes: criterion's statistics into target/bench/ike-criterion.txt, ten thousand idle tunnels in memory, then tohub's
# control plane against strongSwan's charon over UDP in network namespaces (root). Last line: bench-ike: ratio=R, tohub's handshakes per CPU second over charon's.
IKE_PEERS ?= 1000
# Always the same packages: others together would have other features, and everything would be compiled again.
IKE_PACKAGES := -p tohub -p tohub-supervise -p tohub-guard -p controlplane -p dataplane -p tohub-benches
.PHONY: bench-ike
bench-ike: setup
	@mkdir -p target/bench
	@$(CARGO) build --quiet --release $(IKE_PACKAGES) --bins
	@$(CARGO) bench --quiet --profile release $(IKE_PACKAGES) --bench ike > target/bench/ike-criterion.txt
	@grep -E '^ike/|time:|thrpt:' target/bench/ike-criterion.txt
	@$(CARGO) bench --quiet --profile release $(IKE_PACKAGES) --bench idle_tunnels
	@benches/peers/ike.sh $${CARGO_TARGET_DIR:-target}/release $(IKE_PEERS)
