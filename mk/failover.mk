# The worked scenarios of the preferred peer on real packets; figures go to docs/failover.md.
.PHONY: failover
failover: setup
	@$(CARGO) build --quiet --workspace --bins
	@target/debug/tohub-failover docs/failover.md
