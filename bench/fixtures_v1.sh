#!/usr/bin/env bash
# Makes the run folders of `run.json` version 1 that the test `old_runs` opens, with a program that writes that version:
#
#     bench/fixtures_v1.sh PROGRAM [FOLDER]
#
# FOLDER is crates/tweedie-cli/tests/fixtures/runs-v1 by default, and is replaced. Every training is killed at a
# checkpoint in its middle, which is kept as `killed.safetensors`, and resumed to its end; `samples.npy` holds what
# PROGRAM samples there. `unfinished` stays as the kill left it; `unfinished-end` has the weights with which it ends.
# Kernels differ by processor: so do the last bits of weights and samples.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 PROGRAM [FOLDER]" >&2 && exit 2; }
program=$(realpath "$1")
folder=$(realpath -m "${2:-$(dirname "$0")/../crates/tweedie-cli/tests/fixtures/runs-v1}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Few steps, a checkpoint every ten of them, and little to judge.
few=()
for key in steps=40 batch=16 warmup=10 learning_rate=3e-3 ema=0.9 log_every=10 held_out_every=20 held_out_rows=64 \
    sample_every=0 checkpoint_seconds=0; do
    few+=(--set "training.$key")
done
few+=(--set evaluation.samples=20 --set evaluation.log_p_rows=4)

tweedie() { "$program" "$@" --threads 1 --json >/dev/null; }

# The step after which a run's checkpoint was written: two numbers, the first of which counts 2^20.
step_of() {
    python3 - "$1/checkpoint.safetensors" <<'PYTHON'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", data[:8])[0]
first, last = json.loads(data[8 : 8 + size])["step"]["data_offsets"]
high, low = struct.unpack("<2f", data[8 + size + first : 8 + size + last])
print(int(high) << 20 | int(low))
PYTHON
}

# Starts the recipe NAME.toml and kills it once there is a checkpoint; again, if that came too late.
killed() {
    for _ in $(seq 50); do
        rm -rf "$1"
        "$program" train "$1.toml" --out "$1" "${few[@]}" --threads 1 --json >"$1.log" 2>&1 &
        child=$!
        while kill -0 $child 2>/dev/null && [ ! -e "$1/checkpoint.safetensors" ]; do :; done
        kill -KILL $child 2>/dev/null || true
        wait $child 2>/dev/null || true
        [ -e "$1/checkpoint.safetensors" ] || { cat "$1.log" >&2 && exit 1; }
        step=$(step_of "$1")
        if [ ! -e "$1/model.safetensors" ] && [ "$step" -lt 40 ]; then
            echo "$1: killed after step $step"
            return
        fi
    done
    echo "$1: was over before it could be killed, 50 times" >&2 && exit 1
}

# Leaves what a run is: no pictures, no report, no events.
bare() { find "$1" -type f ! -name run.json ! -name curves.jsonl ! -name '*.safetensors' -delete; }

# A run at its end, with some samples.
finished() {
    bare "$1"
    tweedie sample "$1" -n 4 --seed 3 -o "$1/samples.npy"
}

# Trains the recipe on stdin.
trained() {
    cat >"$1.toml"
    killed "$1"
    cp "$1/checkpoint.safetensors" killed.safetensors
    tweedie train "$1.toml" --out "$1" --resume
    mv killed.safetensors "$1"
    finished "$1"
}

trained digits <<'TOML'
about = "A residual MLP on pictures, by class"
[data]
source = "digits"
[network]
name = "mlp"
hidden = 12
blocks = 1
[sampling]
steps = 6
guidance = 1.5
TOML

trained points <<'TOML'
about = "Points in the plane"
[data]
source = "8gaussians"
n = 400
[network]
name = "mlp"
hidden = 16
blocks = 1
[sampling]
solver = "heun"
grid = "karras, rho = 5.0"
steps = 6
TOML

trained unet <<'TOML'
about = "A UNet on pictures, as diffusers trains one"
[data]
source = "digits"
[schedule]
name = "cosine"
side = 32
[network]
name = "unet"
block_out_channels = [4, 4]
down_block_types = ["DownBlock2D", "AttnDownBlock2D"]
up_block_types = ["AttnUpBlock2D", "UpBlock2D"]
layers_per_block = 1
attention_head_dim = 2
norm_num_groups = 2
[model]
prediction = "noise"
sigma_data = 1.0
clock = "index"
[sampling]
solver = "ddim"
grid = "time"
steps = 6
clip = { range = 1.0 }
TOML

trained chain <<'TOML'
about = "DDPM's chain on integers as they are"
[data]
source = "digits"
[schedule]
name = "chain"
steps = 100
beta_end = 0.1
[network]
name = "mlp"
hidden = 12
blocks = 1
[model]
prediction = "noise"
sigma_data = 1.0
[objective.levels]
distribution = { name = "indices" }
[training]
dequantise = false
[sampling]
solver = "ancestral"
grid = "leading"
steps = 10
clip = { range = 1.0 }
TOML

trained learned <<'TOML'
about = "The variational bound with a learned schedule"
[data]
source = "digits"
[schedule]
name = "learned"
lambda_min = -7.0
lambda_max = 13.3
units = 16
[network]
name = "mlp"
hidden = 12
blocks = 1
[model]
prediction = "v"
sigma_data = 1.0
clock = "log-snr"
[objective]
kind = "bound"
[training]
dequantise = false
[sampling]
solver = "ancestral"
grid = "time"
steps = 10
TOML

trained adaptive <<'TOML'
about = "Levels that follow the losses seen"
[data]
source = "wine"
label = "none"
[schedule]
name = "edm"
[network]
name = "mlp"
hidden = 16
blocks = 1
[objective]
adaptive = { bins = 16, decay = 0.9 }
[sampling]
solver = "dpm++2m"
steps = 6
TOML

trained energy <<'TOML'
about = "A score that is the gradient of an energy"
[data]
source = "wine"
[network]
name = "mlp"
hidden = 16
blocks = 1
[model]
energy = true
[sampling]
steps = 6
TOML

trained table <<'TOML'
about = "A table, by class"
[data]
source = "wine"
[network]
name = "mlp"
hidden = 16
blocks = 1
[training.adamw]
weight_decay = 0.1
[sampling]
steps = 6
TOML

cat >unfinished.toml <<'TOML'
about = "Killed in its middle: micro-batches, classes, adaptive levels"
seed = 7
[data]
source = "wine"
[schedule]
name = "straight"
[network]
name = "mlp"
hidden = 16
blocks = 2
[model]
prediction = "velocity"
[objective]
adaptive = { bins = 8, decay = 0.9 }
[training]
accumulate = 2
decay = "constant"
[sampling]
steps = 6
TOML
killed unfinished
cp -r unfinished end
tweedie train unfinished.toml --out end --resume
mkdir unfinished-end
mv end/model.safetensors unfinished-end
bare unfinished

tweedie export unet --out checkpoint
tweedie import checkpoint --out imported
finished imported

rm -rf "$folder"
mkdir -p "$folder"
mv digits points unet chain learned adaptive energy table unfinished unfinished-end imported "$folder"
du -sh --apparent-size "$folder"
