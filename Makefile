# Targets that people use. `make demo` and `make test` set up what they need (scripts/setup.sh; root on Debian 12).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
PREFIX ?= /usr/local
.DEFAULT_GOAL := build

.PHONY: build setup demo test bench bench-smoke lint docs ebpf ebpf-check install clean

build:
	$(CARGO) build --workspace --bins

setup:
	@scripts/setup.sh

# The main job on real packets. DEMO_SCALE=10 divides every timer by ten.
demo: setup
	@$(CARGO) build --quiet --workspace --bins
	@exec target/debug/tohub-demo

# Unit tests, simulations, and gateways in network namespaces.
test: setup
	@scripts/test.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	@echo "lint: PASS"

# Every link and every code block of the documentation comments.
docs:
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet --document-private-items
	@echo "docs: PASS"

bench:
	$(CARGO) bench -p tohub-benches

# Each benchmark once: that it runs, not how fast.
bench-smoke:
	@scripts/bench-smoke.sh

# The BPF programs from their source (nightly compiler and bpf-linker, installed on first use).
ebpf:
	ebpf/build.sh

ebpf-check:
	ebpf/build.sh --check

# What root and the service manager start; people type tohub.
GATEWAY_PROGRAMS := tohub-supervise tohub-dataplane tohub-controlplane tohub-guard

install:
	$(CARGO) build --release --bins -p tohub -p tohub-supervise -p tohub-guard -p dataplane -p controlplane
	$(CARGO) build --release -p simulation --bin tohub-simulate
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin $(addprefix target/release/,$(GATEWAY_PROGRAMS))
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin target/release/tohub target/release/tohub-simulate
	# tohub looks for its programs beside itself.
	ln -sf $(addprefix ../sbin/,$(GATEWAY_PROGRAMS)) $(DESTDIR)$(PREFIX)/bin/
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/tohub README.md ARCHITECTURE.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/tohub/systemd packaging/systemd/tohub.service packaging/systemd/tohub-guard.service packaging/systemd/tohub-watch.service

clean:
	$(CARGO) clean

-include mk/*.mk
