#!/bin/bash
# Installs what building, the demo and the tests need beside a Rust toolchain: Debian packages only, and only those missing.
set -euo pipefail

declare -A package_of=([ip]=iproute2 [nsenter]=util-linux [nft]=nftables [ethtool]=ethtool [tcpdump]=tcpdump [ping]=iputils-ping
    [python3]=python3 [dnsmasq]=dnsmasq-base [cc]=gcc [cmake]=cmake [make]=make)
PATH=$PATH:/usr/sbin:/sbin

missing=()
for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "setup: ${missing[*]} missing, and only root can install them: run 'apt-get install ${missing[*]}' as root" >&2
    exit 4
fi
command -v apt-get >/dev/null || {
    echo "setup: ${missing[*]} missing, and this is no Debian: install them by hand" >&2
    exit 1
}
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}
