# Measures of the source tree: sizes, import circles, twins, unused items, words in comments, what binaries link. No gate.
# HOUSE="twins unused" prints these sections whole.
HOUSE ?=
.PHONY: house deny
house:
	@$(CARGO) run --quiet -p tohub-house -- $(HOUSE)

# Licences, repeated packages and sources of dependencies against deny.toml.
deny:
	@if command -v cargo-deny >/dev/null; then \
	    $(CARGO) deny --offline check licenses bans sources; \
	else \
	    echo "SKIP: cargo-deny is not installed (cargo install --locked cargo-deny); licences and repeated packages are compared without it"; \
	    $(CARGO) run --quiet -p tohub-house -- licences; \
	fi
