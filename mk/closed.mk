# Life events under traffic against real gateways: nothing protected may leave in clear, whatever happens (docs/closed.md, docs/closed-events.md).
# EVENT="uplink" plays only events whose names contain this, CLOSED_SEED=N repeats the delays of a run, CLOSED_PART=K/N plays every N-th event,
# CLOSED_REPETITIONS=N plays each so often.
CLOSED_REPETITIONS ?= 5
.PHONY: closed closed-events
closed: setup
	@$(CARGO) build --quiet --workspace --bins
	@exec $${CARGO_TARGET_DIR:-target}/debug/tohub-closed --event "$(EVENT)" $(if $(CLOSED_SEED),--seed $(CLOSED_SEED)) $(if $(CLOSED_PART),--part $(CLOSED_PART)) --repetitions $(CLOSED_REPETITIONS)

closed-events:
	@$(CARGO) run --quiet -p tohub-tests --bin tohub-closed -- --list >docs/closed-events.md.new
	@mv docs/closed-events.md.new docs/closed-events.md
