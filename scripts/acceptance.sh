#!/bin/bash
# Every test, the lints and the acceptance targets one after the other; prints the minutes of each and one line at the end.
#   acceptance.sh whole    everything, as long as it takes: `make verify`
#   acceptance.sh part     what continuous integration has time for: of the long matrices a part that the hour chooses, so that the runs of a day
#                          play the whole; measurements only while less than BUDGET seconds have passed, else a line says that they were left out
# Only what lives by the real clock is played a second time when it fails, as machines are shared: both ends are shown, and the target and the
# reason stand in the last line. Unit tests, lints and simulations are never played twice.
set -uo pipefail
cd "$(dirname "$0")/.."
mode=${1:-whole}
case $mode in whole | part) ;; *) echo "acceptance: whole or part, not $mode" >&2; exit 2 ;; esac

BUDGET=${ACCEPTANCE_BUDGET:-2700}
# No second time after this many seconds.
PATIENCE=$((BUDGET + 600))
# One target, in seconds.
LONGEST=2400
[ "$mode" = part ] || { BUDGET=$((1 << 30)) PATIENCE=$((1 << 30)); }
hour=$(($(date +%s) / 3600))

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=() second=() still=() skipped=()
# The reason of a failure: the last line of a target that says so.
reason() { grep -aE 'FAIL|error' "$(log first "$@")" | grep -av '^make' | tail -n 1 | cut -c 1-300; }
# log TARGET: the file of its output.
log() { echo "$logs/${*//\//of}"; }
run() {
    local started=$SECONDS status
    echo "──── $*"
    timeout --foreground --kill-after=30 "$LONGEST" "$@" </dev/null 2>&1 | tee "$(log "$@")"
    status=${PIPESTATUS[0]}
    [ "$status" != 124 ] || echo "acceptance: $* was ended after $LONGEST seconds"
    echo "──── $*: $(awk -v s=$((SECONDS - started)) 'BEGIN { printf "%.1f", s / 60 }') minutes"
    return "$status"
}
# A target that gives the same on every machine.
step() { run "$@" || still+=("$*"); }
# A target that lives by the real clock.
timed() { run "$@" || { failed+=("$*"); cp "$(log "$@")" "$(log first "$@")"; }; }
# A target that may be left out for lack of time.
measure() {
    if [ $SECONDS -lt "$BUDGET" ]; then timed "$@"; return; fi
    echo "SKIP: $*: $((SECONDS / 60)) minutes have passed, make verify plays it"
    skipped+=("$*")
}
# What failed since the last call, once more, with the end of its first time.
play_again() {
    local target
    for target in "${failed[@]}"; do
        echo "──── the end of the first: $target"
        tail -n 60 "$(log first "$target")"
        # shellcheck disable=SC2086
        if [ $SECONDS -le $PATIENCE ] && run $target; then second+=("$target: $(reason $target)"); else still+=("$target"); fi
    done
    failed=()
}
# choose N: K/N, the part of this hour.
choose() { echo "$((hour % $1 + 1))/$1"; }

step make test
step make lint
if [ "$mode" = whole ]; then
    histories=(HISTORIES_PROFILE=histories)
    timed make closed
else
    # The tests' build plays them: an optimised one of its own takes longer to compile than it saves.
    histories=(HISTORIES_PROFILE=dev HISTORIES=20000 FIRST_SEED=$((hour % 5 * 20000 + 1)))
    timed make closed CLOSED_PART="$(choose 12)" CLOSED_REPETITIONS=2
fi
timed make demo
timed make failover
step make simulate "${histories[@]}"
step make simulate-ike "${histories[0]}"
peers=yes
tests/peers/setup.sh strongswan5 strongswan6 libreswan kernel-vm || peers=no
if [ "$peers" = yes ]; then timed make interop; else echo "SKIP: interop, interop-kernel, bench-ike: the peers cannot be installed here, see above"; fi
play_again
[ "$peers" = no ] || measure make interop-kernel
measure make bench-smoke
measure make test-aead
measure make bench-aead
[ "$peers" = no ] || measure make bench-ike
play_again

[ ${#skipped[@]} = 0 ] || printf 'left out for lack of time: %s\n' "${skipped[@]}"
[ ${#second[@]} = 0 ] || printf 'failed at the first time, passed at the second: %s\n' "${second[@]}"
if [ ${#still[@]} -gt 0 ]; then
    printf 'acceptance: FAIL %s\n' "${still[@]}"
    exit 1
fi
echo "acceptance: PASS minutes=$((SECONDS / 60)) second-time=${#second[@]} left-out=${#skipped[@]}"
