#!/bin/bash
# Runs the AEAD kernel under valgrind's memory checker with keys and plaintexts marked as undefined: no branch and no address may depend on them.
# Covers what valgrind knows: key expansion, the 128-bit vector code with its tag comparison, the portable back end. It knows no VAES and no AVX-512.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "aead-memcheck: installing valgrind"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends valgrind >/dev/null 2>&1 || true
fi
command -v valgrind >/dev/null || {
    echo "SKIP: aead-memcheck: valgrind is not installed and cannot be: run 'apt-get install valgrind' as root"
    exit 0
}

${CARGO:-cargo} build --quiet --profile vectors -p aes_gcm_batch --features memcheck --example memcheck
log=$(mktemp)
trap 'rm -f "$log"' EXIT
valgrind --log-file="$log" "${CARGO_TARGET_DIR:-target}/vectors/examples/memcheck" || {
    status=$?
    # The first complaints of each kind name the line.
    grep -v "Warning: set address range perms" "$log" | head -60 >&2
    exit $status
}
