#!/usr/bin/env bash
# Applies the diffs of `docs/extending.md` to a copy of the checkout, where lints must pass. Each diff must be one new file,
# and in files that are there one `mod` line and one line of a registry.
#
# The copy is built in a folder of its own, to which what the checkout has built is copied: after
# `cargo clippy --release --all-targets` only the workspace's own crates are built anew, and the checkout's stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=target/extending
rm -rf "$copy" target/extending-build
mkdir -p target/extending-build
[ ! -d target/release ] || cp -a --reflink=auto target/release target/extending-build/
mkdir -p "$copy/.diffs"
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard
else
    find . -path ./target -prune -o -type f -print0
fi | xargs -0 cp --parents -t "$copy"
awk -v into="$copy/.diffs" '
    /^```diff$/ { inside = 1; file = sprintf("%s/%d.diff", into, ++count); next }
    /^```$/ { inside = 0 }
    inside { print > file }
' docs/extending.md
diffs=("$copy"/.diffs/*.diff)
if [ "${#diffs[@]}" -ne 4 ]; then
    echo "docs/extending.md has ${#diffs[@]} diffs, not 4" >&2
    exit 1
fi
for diff in "${diffs[@]}"; do
    found=$(awk '
        /^diff --git/ { new = 0 }
        /^new file mode/ { new = 1; files++ }
        /^-/ && !/^--- / { removed++ }
        !new && /^\+/ && !/^\+\+\+ / { added++; if (/^\+(pub )?mod [a-z_]+;$/) mods++ }
        END { print files + 0, mods + 0, added - mods, removed + 0 }
    ' "$diff")
    if [ "$found" != "1 1 1 0" ]; then
        echo "$diff: new files, mod lines, other lines added, lines removed: $found, not 1 1 1 0" >&2
        exit 1
    fi
    patch --quiet --fuzz 0 -d "$copy" -p1 <"$diff"
done
cd "$copy"
cargo fmt --all --check
CARGO_TARGET_DIR=../extending-build cargo clippy --release --workspace -- -D warnings
cd ../..
rm -rf "$copy" target/extending-build
