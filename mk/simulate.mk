# Histories of whole networks under a virtual clock, from consecutive seeds. `make simulate SEED=n` replays one with its timeline.
# HISTORIES_PROFILE=dev takes the build of the tests instead of an optimised one of its own: slower to play, nothing to build.
HISTORIES ?= 100000
FIRST_SEED ?= 1
HISTORIES_PROFILE ?= histories
HISTORIES_FOLDER = $${CARGO_TARGET_DIR:-target}/$(HISTORIES_PROFILE:dev=debug)
# The whole workspace with the tests' build: a package alone would have other features, and be compiled again.
HISTORIES_BUILD = $(CARGO) build --quiet --profile $(HISTORIES_PROFILE) $(if $(filter dev,$(HISTORIES_PROFILE)),--workspace --bins,-p simulation)
.PHONY: simulate
simulate:
	@$(HISTORIES_BUILD)
	@$(HISTORIES_FOLDER)/tohub-histories $(if $(SEED),--seed $(SEED),--histories $(HISTORIES) --first-seed $(FIRST_SEED))
