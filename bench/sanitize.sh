#!/usr/bin/env bash
# The tests of `tweedie-ops`, whose code alone is unsafe, under AddressSanitizer, with checks of overflow and of the
# preconditions of unsafe functions. Arguments go to the tests.
#
# Only the crates of the workspace are compiled anew: Cargo calls this script as their compiler, and what they depend on
# is that of `cargo test --release`. RUSTC_BOOTSTRAP lets a stable compiler take the flag. `tweedie-cli` has no library
# and so no test here, but with it Cargo turns on the features that the whole workspace has.
set -euo pipefail
if [[ ${TWEEDIE_SANITIZE-} ]]; then
    RUSTC_BOOTSTRAP=1 exec "$@" -Zsanitizer=address -Cdebug-assertions=on -Coverflow-checks=on
fi
cd "$(dirname "$0")/.."
export TWEEDIE_SANITIZE=1 RUSTC_WORKSPACE_WRAPPER="$PWD/bench/sanitize.sh"
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
exec cargo test --release --package tweedie-ops --package tweedie-cli --lib -- "$@"
