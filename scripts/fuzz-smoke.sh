#!/bin/bash
# Runs each fuzz target for some seconds from its seed corpus: fuzz-smoke: PASS targets=N seconds=S
# What it finds stays in fuzz/artifacts; new inputs go to target/fuzz-corpus, never into the tree.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
skip() { echo "SKIP: fuzz-smoke: $*"; exit 0; }
cargo +nightly --version >/dev/null 2>&1 || skip "no nightly tool chain; rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz || skip "cargo-fuzz cannot be installed"
cargo +nightly fuzz build >/tmp/fuzz-build.$$ 2>&1 || { cat /tmp/fuzz-build.$$; rm -f /tmp/fuzz-build.$$; echo "fuzz-smoke: FAIL the targets do not build"; exit 1; }
rm -f /tmp/fuzz-build.$$
targets=0
while read -r target; do
    grown=target/fuzz-corpus/$target
    mkdir -p "$grown" "fuzz/corpus/$target"
    if ! output=$(cargo +nightly fuzz run "$target" "$grown" "fuzz/corpus/$target" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 2>&1); then
        tail -n 40 <<<"$output"
        echo "fuzz-smoke: FAIL $target"
        exit 1
    fi
    grep -E '^Done|stat::number_of_executed_units' <<<"$output" | sed "s/^/$target: /"
    targets=$((targets + 1))
done < <(cargo +nightly fuzz list)
echo "fuzz-smoke: PASS targets=$targets seconds=$seconds"
