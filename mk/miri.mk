# What an interpreter and a model checker can look at: undefined behaviour in the ring, pool and table code that needs no system
# call (nightly tool chain with miri), then every interleaving of the shared-memory protocols.
.PHONY: miri
miri:
	@scripts/miri.sh
