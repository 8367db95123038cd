#!/bin/bash
# Runs each benchmark once, without measuring, and counts them: bench-smoke: PASS n=N
set -uo pipefail
cd "$(dirname "$0")/.."
output=$(cargo bench -p tohub-benches --profile dev -- --test 2>&1) || { echo "$output"; echo "bench-smoke: FAIL"; exit 1; }
n=$(grep -c 'Success$' <<<"$output")
[ "$n" -gt 0 ] || { echo "$output"; echo "bench-smoke: FAIL no benchmark ran"; exit 1; }
echo "bench-smoke: PASS n=$n"
