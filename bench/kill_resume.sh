#!/usr/bin/env bash
# Kills `train digits` at 20 random moments, resuming it each time, and compares what it leaves, byte for byte, with an
# uninterrupted run.
#
#     cargo build --release && bench/kill_resume.sh [KILLS] [SEED]
set -euo pipefail
program=$(cd "$(dirname "$0")/.." && pwd)/target/release/tweedie
program=${TWEEDIE:-$program}
kills=${1:-20}
RANDOM=${2:-$$}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/whole" "$folder/broken"

train() { exec "$program" train digits --out run --set training.checkpoint_seconds=0.1 --json; }
resume() { exec "$program" train digits --out run --resume --json; }
now() { date +%s%N; }

cd "$folder/whole"
start=$(now)
(train >/dev/null)
span=$((($(now) - start) / 1000000))
echo "uninterrupted: $span ms, $(wc -l <run/curves.jsonl) lines of curves"

cd "$folder/broken"
met=0
for k in $(seq "$kills"); do
    if [ -e run/run.json ]; then (resume >/dev/null) & else (train >/dev/null) & fi
    child=$!
    # On average half of what is left for each kill, so that the run is not over too soon.
    wait_ms=$(((RANDOM * 32768 + RANDOM) % (span / kills + 50) + 50))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    if kill -KILL "$child" 2>/dev/null; then met=$((met + 1)); fi
    wait "$child" 2>/dev/null || true
    lines=$(cat run/curves.jsonl 2>/dev/null | wc -l)
    echo "kill $k after $wait_ms ms: $lines lines of curves"
done
if [ -e run/run.json ]; then (resume >/dev/null); else (train >/dev/null); fi

for file in model.safetensors checkpoint.safetensors curves.jsonl samples.png report.html samples; do
    diff -rq "$folder/whole/run/$file" "run/$file"
done
left=$(find run -name '.tweedie-*')
if [ -n "$left" ]; then echo "left behind: $left" && exit 1; fi
echo "$met kills met the run going; every byte is as without them"
