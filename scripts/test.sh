#!/bin/bash
# Runs every test of the workspace and closes with one line: test: PASS passed=N skipped=M minutes=T
# A test that cannot run here prints a line "SKIP: <test>: <why>"; those are counted and repeated at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
started=$SECONDS

# The namespaces' tests start the real programs.
cargo build --quiet --workspace --bins || { echo "test: FAIL the workspace does not build"; exit 1; }
cargo test --workspace --no-fail-fast -- --show-output 2>&1 | tee "$log" | grep -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|successes:|)$'
status=${PIPESTATUS[0]}

sum() { awk -v word="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" word) total += $(i - 1) } END { print total + 0 }' "$log"; }
passed=$(sum passed) failed=$(sum failed) ignored=$(sum ignored)
skips=$(grep -aE '^SKIP: ' "$log" | sort -u)
skipped=$((ignored + $(grep -c . <<<"$skips" || true)))
minutes=$(awk -v s=$((SECONDS - started)) 'BEGIN { printf "%.1f", s / 60 }')
[ -z "$skips" ] || echo "$skips"
echo "$passed passed, $failed failed, $skipped skipped"
if [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; then
    echo "test: PASS passed=$passed skipped=$skipped minutes=$minutes"
else
    grep -aE '^test .* FAILED$|^error(\[|:)' "$log"
    echo "test: FAIL passed=$passed failed=$failed minutes=$minutes"
    exit 1
fi
