#!/bin/bash
# Handshakes per CPU second of tohub's control plane and of strongSwan's charon, on this machine, one after the other.
#   ike.sh FOLDER [PEERS]    FOLDER has tohub, tohub-controlplane, tohub-dataplane and ike-load
# ike-load is the initiator of both: full handshakes with PSK and x25519, AES-GCM-256, over UDP between two namespaces. What
# counts is the CPU time (user and system) of the responding process alone, tohub-controlplane or charon. The ratio is that of handshakes with
# the first child on both sides (charon installs it in its user-space ESP); charon without any child is shown beside it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tests/peers/lib.sh"
programs=$(cd "$1" && pwd) peers=${2:-1000}
[ "$(id -u)" = 0 ] || { echo "bench-ike: SKIP needs root for network namespaces"; exit 0; }
gateway=tohub-bench-$$ load=tohub-load-$$ scratch=$(mktemp -d)
export PEERS_STATE=$scratch/peers
supervisor=

clean_up() {
    local status=$?
    [ "$status" = 0 ] || tail -n 20 "$scratch/tohub.log" 2>/dev/null || true
    [ -z "$supervisor" ] || { kill "$supervisor" 2>/dev/null; wait "$supervisor" 2>/dev/null; } || true
    stop_peer "$gateway" 2>/dev/null || true
    "$programs/tohub" --run-dir "$scratch/run" release >/dev/null 2>&1 || true
    for netns in "$gateway" "$load"; do ip netns delete "$netns" 2>/dev/null || true; done
    [ "${KEEP:-}" ] || rm -rf "$scratch"
}
trap clean_up EXIT

for netns in "$gateway" "$load"; do ip netns add "$netns"; ip -n "$netns" link set lo up; done
ip -n "$gateway" link add outside numrxqueues 2 numtxqueues 2 type veth peer name wire netns "$load" numrxqueues 2 numtxqueues 2
ip netns exec "$load" ethtool -K wire tx off >/dev/null
ip -n "$load" address add 10.1.1.2/24 dev wire
ip -n "$load" link set wire up
# Every address of the peers is this namespace's own.
ip -n "$load" route add local 10.100.0.0/16 dev lo

# cpu PID: microseconds on a processor, user and system, of all its threads (the first word of schedstat, nanoseconds).
cpu() { cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum / 1000 }'; }

# measure NAME PID [childless]: one round to warm up is part of the run; prints and keeps handshakes per CPU second.
measure() {
    local name=$1 pid=$2 before after result
    shift 2
    before=$(cpu "$pid")
    result=$(ip netns exec "$load" "$programs/ike-load" drive 10.1.1.1 "$peers" "$@") ||
        { echo "bench-ike: FAIL $name: not every handshake was done"; exit 1; }
    after=$(cpu "$pid")
    rate=$(awk -v n="$peers" -v t=$((after - before)) 'BEGIN { printf "%.0f", n * 1e6 / (t > 0 ? t : 1) }')
    echo "$name: $rate handshakes per CPU second of the responder ($result, $(((after - before) / peers)) microseconds each)"
}

# resident PID: KiB of its own, without the shared segments.
resident() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status"; }

# --- tohub
ip -n "$gateway" link set outside up
mkdir -p "$scratch/run"
"$programs/ike-load" config "$peers" >"$scratch/tohub.cfg"
nsenter --net="/run/netns/$gateway" -- "$programs/tohub" --run-dir "$scratch/run" supervise --config "$scratch/tohub.cfg" \
    </dev/null >"$scratch/tohub.log" 2>&1 &
supervisor=$!
ready() { nsenter --net="/run/netns/$gateway" -- "$programs/tohub" --run-dir "$scratch/run" -c 'show tohub dataplane | json' | grep -q '"state": "ready"'; }
wait_until 60 ready || { tail -n 20 "$scratch/tohub.log"; echo "bench-ike: FAIL tohub did not start"; exit 1; }
pid=$(pgrep -P "$supervisor" -f tohub-controlplane | head -n 1)
before=$(resident "$pid")
measure "tohub, PSK, x25519, first child" "$pid"
tohub=$rate
up=$(resident "$pid")
nsenter --net="/run/netns/$gateway" -- "$programs/tohub" --run-dir "$scratch/run" -c 'clear crypto session' >/dev/null
# Their Deletes stay without an answer for ten seconds, and what is closed repeats its last answer for thirty.
sleep 45
echo "tohub: $(((up - before) * 1024 / peers)) octets of resident memory per idle tunnel, $((($(resident "$pid") - before) * 1024 / peers)) after it was closed"
kill "$supervisor"; wait "$supervisor" 2>/dev/null || true
supervisor=
"$programs/tohub" --run-dir "$scratch/run" release >/dev/null 2>&1 || true

# --- charon
root=$(root_fs strongswan5 2>/dev/null) || { "$here/../../tests/peers/setup.sh" strongswan5; root=$(root_fs strongswan5); }
ip -n "$gateway" address replace 10.1.1.1/24 dev outside
ip -n "$gateway" link set outside up
ip -n "$gateway" route replace 10.100.0.0/16 via 10.1.1.2
# Its user-space ESP makes a route for a child, from an address of its own in the selectors.
ip -n "$gateway" address add 10.2.0.1/16 dev lo
# Starts charon without SAs.
start_charon() {
    new_peer "$gateway"
    folder=$PEERS_STATE/$gateway
    cp "$here/../../tests/peers/conf/userspace-esp.conf" "$here"/charon/*.conf "$folder/"
    # shellcheck disable=SC2086
    start_daemon "$gateway" "$root" env STRONGSWAN_CONF=/peer/strongswan.conf /usr/lib/ipsec/charon
    wait_until 20 peer_exec "$gateway" swanctl --stats || { cat "$folder/charon.log"; echo "bench-ike: FAIL charon did not start"; exit 1; }
    peer_exec "$gateway" swanctl --load-all --noprompt >"$folder/load.log" 2>&1 || { cat "$folder/load.log"; exit 1; }
    pid=$(ip netns pids "$gateway" | while read -r one; do [ "$(cat "/proc/$one/comm")" = charon ] && echo "$one"; done | head -n 1)
}
start_charon
before=$(resident "$pid")
measure "charon, PSK, x25519, childless" "$pid" childless
echo "tohub with a child over charon without: $(awk -v a="$tohub" -v b="$rate" 'BEGIN { printf "%.2f", a / b }')"
echo "charon: $((($(resident "$pid") - before) * 1024 / peers)) octets of resident memory per idle IKE SA without a child"
start_charon
measure "charon, PSK, x25519, first child" "$pid"
awk -v a="$tohub" -v b="$rate" 'BEGIN { printf "bench-ike: ratio=%.2f\n", a / b }'
