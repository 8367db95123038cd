# Floods of first messages, then histories of two IKE endpoints on a bad wire, from consecutive seeds.
# `make simulate-ike SEED=n` replays one with its timeline.
IKE_HISTORIES ?= 10000
.PHONY: simulate-ike
simulate-ike:
	@$(HISTORIES_BUILD)
	@$(HISTORIES_FOLDER)/tohub-ike-histories $(if $(SEED),--seed $(SEED),--histories $(IKE_HISTORIES))
