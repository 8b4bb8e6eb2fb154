#!/usr/bin/env bash
# Compares the speed of two builds of the program: `tweedie bench` of both in turn, the other first every second round.
#
#     bench/before_after_speed.sh OLD NEW [ROUNDS] [NAME]...
#
# ROUNDS is 5 by default, and a round takes a minute; NAME is as `tweedie bench` takes it. Prints the medians in
# milliseconds, the ratio NEW / OLD, that of the fastest rounds (which other processes disturb least), the least and the
# largest ratio of a round, and the spread of OLD's rounds, (most − least) / median. Status 1 if a ratio of medians is above
# 1.03 and exceeds 1 by more than that spread.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 OLD NEW [ROUNDS] [NAME]..." >&2 && exit 2; }
declare -A program=([old]=$(realpath "$1") [new]=$(realpath "$2"))
rounds=${3:-5}
names=("${@:4}")
[ ${#names[@]} -gt 0 ] || names=(
    mlp.3-128x4-2.256 unet.train unet.sample unet-attention.train transformer.train ops.attention ops.group-norm-silu)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for round in $(seq "$rounds"); do
    sides=(old new)
    if ((round % 2 == 0)); then sides=(new old); fi
    for side in "${sides[@]}"; do
        "${program[$side]}" bench "${names[@]}" --rounds 1 --no-memory --threads 2 --json >"$work/$side-$round.json"
        echo "round $round of $rounds: $side" >&2
    done
done

python3 - "$work" "$rounds" <<'PYTHON'
import json, sys
from statistics import median

folder, rounds = sys.argv[1], range(1, int(sys.argv[2]) + 1)
old, new = ([json.load(open(f"{folder}/{side}-{round}.json")) for round in rounds] for side in ("old", "new"))
names = [key.removesuffix(".ms") for key in old[0] if key.endswith(".ms")]
wide = max(map(len, names)) + 2
slower, other = [], {key for key in old[0].keys() ^ new[0].keys() if key.endswith(".ms")}
print(f"{'':{wide}}{'old ms':>10}{'new ms':>10}{'ratio':>8}{'fastest':>9}{'least':>8}{'most':>8}{'spread':>9}")
for name in names:
    if name + ".ms" in other:
        continue
    a, b = ([round[name + ".ms"] for round in side] for side in (old, new))
    ratio, each = median(b) / median(a), [y / x for x, y in zip(a, b)]
    spread = (max(a) - min(a)) / median(a)
    mark = ""
    if ratio - 1 > max(0.03, spread):
        slower.append(name)
        mark = "  slower"
    print(
        f"{name:{wide}}{median(a):10.3f}{median(b):10.3f}{ratio:8.3f}{min(b) / min(a):9.3f}{min(each):8.3f}"
        f"{max(each):8.3f}{100 * spread:8.1f}%{mark}"
    )
for key in sorted(other):
    print(f"{key.removesuffix('.ms'):{wide}}measured by one of them alone")
busy = [round["others_cpu"] for round in old + new if "others_cpu" in round]
if busy and max(busy) > 0.05:
    print(f"other processes took up to {100 * max(busy):.0f} % of the processors: times are too long and scatter")
print(f"slower: {', '.join(slower)}" if slower else "none is slower")
sys.exit(bool(slower))
PYTHON
