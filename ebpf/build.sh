#!/bin/sh
# Rebuilds tohub-ebpf.o. Without argument the object and its checksum in the tree are replaced; with --check the fresh
# build must be byte-identical to what is in the tree, so that the committed object is never of unknown origin.
set -eu
cd "$(dirname "$0")"

# The compiler decides the bytes, so its version is part of the recipe.
NIGHTLY_DATE=2026-05-20
NIGHTLY_VERSION="rustc 1.97.0-nightly (e50aa6fba 2026-05-19)"
LINKER_VERSION=0.10.3

toolchain=nightly
if [ "$(rustc +nightly -V 2>/dev/null || true)" != "$NIGHTLY_VERSION" ]; then
    toolchain="nightly-$NIGHTLY_DATE"
    rustup toolchain install "$toolchain" --profile minimal
fi
rustup component add rust-src --toolchain "$toolchain"
if [ "$(bpf-linker --version 2>/dev/null || true)" != "bpf-linker $LINKER_VERSION" ]; then
    cargo install --locked "bpf-linker@$LINKER_VERSION"
fi

target="${EBPF_TARGET_DIR:-target}"
sysroot="$(rustc "+$toolchain" --print sysroot)"
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
# The linker makes BTF, which names source files: by paths that are the same on every machine.
export RUSTFLAGS="-C link-arg=--btf --remap-path-prefix=$PWD=ebpf --remap-path-prefix=$cargo_home=cargo --remap-path-prefix=$sysroot=rust"
LD_LIBRARY_PATH="$sysroot/lib" CARGO_TARGET_DIR="$target" cargo "+$toolchain" build --locked --release
fresh="$target/bpfel-unknown-none/release/tohub-ebpf.stripped"
objcopy="$(find "$sysroot/lib/rustlib" -name rust-objcopy | head -n 1)"
LD_LIBRARY_PATH="$sysroot/lib" "$objcopy" --strip-debug "${fresh%.stripped}" "$fresh"

if [ "${1:-}" = "--check" ]; then
    expected="$(cut -d' ' -f1 tohub-ebpf.o.sha256)"
    for object in tohub-ebpf.o "$fresh"; do
        actual="$(sha256sum "$object" | cut -d' ' -f1)"
        if [ "$actual" != "$expected" ]; then
            echo "ebpf: $object has sha256 $actual, tohub-ebpf.o.sha256 says $expected; run ebpf/build.sh" >&2
            exit 1
        fi
    done
    echo "ebpf: PASS tohub-ebpf.o is what the sources build"
else
    cp "$fresh" tohub-ebpf.o
    sha256sum tohub-ebpf.o > tohub-ebpf.o.sha256
    echo "ebpf: wrote tohub-ebpf.o ($(wc -c < tohub-ebpf.o) bytes)"
fi
