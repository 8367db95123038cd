# Histories of whole networks under a virtual clock, from consecutive seeds. `make simulate SEED=n` replays one with its timeline.
HISTORIES ?= 100000
FIRST_SEED ?= 1
.PHONY: simulate
simulate:
	@$(CARGO) build --quiet --profile histories -p simulation
	@$${CARGO_TARGET_DIR:-target}/histories/tohub-histories $(if $(SEED),--seed $(SEED),--histories $(HISTORIES) --first-seed $(FIRST_SEED))
