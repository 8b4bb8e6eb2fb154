#!/usr/bin/env bash
# The tests of the operations, whose code alone is unsafe, under AddressSanitizer: 15 minutes, most of it to build Burn so.
# RUSTC_BOOTSTRAP lets a stable compiler take the flag.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
cargo test --package tweedie-ops --test kernels --target x86_64-unknown-linux-gnu --target-dir target/sanitize \
    --config 'profile.dev.package."*".opt-level=1' "$@"
