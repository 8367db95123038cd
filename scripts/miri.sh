#!/bin/bash
# Miri on the parts of af_xdp and sa_table that need no kernel, and the loom models: miri: PASS tests=N models=M
set -uo pipefail
cd "$(dirname "$0")/.."
skip() { echo "SKIP: miri: $*"; exit 0; }
rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1 || skip "no nightly tool chain; rustup toolchain install nightly"
export MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}" PROPTEST_CASES=4
target=${CARGO_TARGET_DIR:-target}
passed() { awk '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i - 1) } END { print n + 0 }' <<<"$1"; }

# Models of loom and everything that maps memory or asks the kernel are left out here.
interpreted=$(
    cargo +nightly miri test --target-dir "$target/miri" -p sa_table --lib -- \
        protocol word layout record policy address flow ids header::tests --skip models --skip loom 2>&1 &&
        cargo +nightly miri test --target-dir "$target/miri" -p af_xdp --lib -- cursor frame pool ring --skip every_interleaving --skip loom 2>&1
) || { echo "$interpreted" | tail -n 60; echo "miri: FAIL"; exit 1; }
models=$(
    RUSTFLAGS="--cfg loom" cargo test --profile histories --target-dir "$target/loom" -p sa_table --lib loom 2>&1 &&
        cargo test -p af_xdp --lib cursor 2>&1
) || { echo "$models" | tail -n 60; echo "miri: FAIL models"; exit 1; }
tests=$(passed "$interpreted") checked=$(passed "$models")
[ "$tests" -gt 0 ] && [ "$checked" -gt 0 ] || { echo "miri: FAIL nothing ran"; exit 1; }
echo "miri: PASS tests=$tests models=$checked"
