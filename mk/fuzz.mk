# Every fuzz target for a few seconds (nightly tool chain with cargo-fuzz). `make test` replays the same corpus on the stable one.
FUZZ_SECONDS ?= 10
.PHONY: fuzz-smoke
fuzz-smoke:
	@scripts/fuzz-smoke.sh $(FUZZ_SECONDS)
