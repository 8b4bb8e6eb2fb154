#!/usr/bin/env bash
# Compares two builds of the program on one machine, byte for byte: what they train, sample, resume, export and import.
#
#     bench/before_after.sh OLD NEW
#
# Every case trains 300 steps from one recipe with both. OLD and NEW also go on with the killed runs of version 1 that
# the test `old_runs` opens. Prints a line for each comparison; status 1 if any differs, and then keeps the runs.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 OLD NEW" >&2 && exit 2; }
declare -A program=([old]=$(realpath "$1") [new]=$(realpath "$2"))
fixtures=$(realpath "$(dirname "$0")/../crates/tweedie-cli/tests/fixtures/runs-v1")
work=$(mktemp -d)
mkdir "$work/old" "$work/new"
cd "$work"
differences=0

# Runs a program in its own folder; what it said is shown if it fails.
by() {
    local side=$1 && shift
    (cd "$side" && "${program[$side]}" "$@" --threads 2 --json) >log 2>&1 && return
    echo "$side: tweedie $*" >&2
    cat log >&2
    return 1
}

# Runs both programs with the same arguments.
both() { by old "$@" && by new "$@"; }

# How two files compare: arrays by name and bytes where they are safetensors, since a header may change.
verdict() {
    python3 - "$1" "$2" <<'PYTHON'
import json, struct, sys

def arrays(path):
    data = open(path, "rb").read()
    if not path.endswith(".safetensors"):
        return data
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    part = lambda entry: data[end + entry["data_offsets"][0] : end + entry["data_offsets"][1]]
    return {name: (entry["dtype"], entry["shape"], part(entry)) for name, entry in header.items()}

try:
    old, new = map(arrays, sys.argv[1:])
except OSError as error:
    print(f"DIFFERENT: no {error.filename}")
    sys.exit()
if open(sys.argv[1], "rb").read() == open(sys.argv[2], "rb").read():
    print("equal")
elif not isinstance(old, dict):
    print("DIFFERENT")
elif old == new:
    print("equal, with another header")
elif old.keys() != new.keys():
    print("DIFFERENT arrays:", *sorted(old.keys() ^ new.keys()))
else:
    # The largest difference, of numbers of single precision.
    floats = lambda entry: struct.unpack(f"<{len(entry[2]) // 4}f", entry[2])
    same = all(old[name][:2] == new[name][:2] for name in old)
    pairs = [pair for name in old if same for pair in zip(floats(old[name]), floats(new[name]))]
    print("DIFFERENT", f"by {max(abs(a - b) for a, b in pairs):.1e}" if same else "shapes or types")
PYTHON
}

# Compares two files and prints the line of a case.
compare() {
    local found && found=$(verdict "$3" "$4")
    [[ $found == equal* ]] || differences=$((differences + 1))
    printf '%-13s %-40s %s\n' "$1" "$2" "$found"
}

failed() {
    differences=$((differences + 1))
    printf '%-13s %-40s %s\n' "$1" "$2" FAILED
}

# Trains a recipe by both, samples each run by its own program and OLD's by NEW.
trained() {
    local name=$1 recipe=$2 && shift 2
    local sets=(--set training.steps=300 --set training.sample_every=0 --set training.held_out_every=100)
    sets+=(--set evaluation.samples=20 --set evaluation.log_p_rows=4 "$@")
    both train "$recipe" --out "$name" "${sets[@]}" || { failed "$name" training && return; }
    compare "$name" "weights after 300 steps" {old,new}/"$name"/model.safetensors
    sampled "$name" "$name" "$name"
    by new sample "../old/$name" -n 16 --seed 5 -o "$name-old.npy" || { failed "$name" sampling && return; }
    compare "$name" "samples of OLD's run by NEW" old/"$name".npy new/"$name"-old.npy
}

# Compares samples of a run: the line's name, the run, the file, options.
sampled() {
    local name=$1 run=$2 file=$3 && shift 3
    both sample "$run" -n 16 --seed 5 -o "$file.npy" "$@" || { failed "$name" sampling && return; }
    compare "$name" "samples" {old,new}/"$file".npy
}

# Writes the recipe on stdin for both.
recipe() { tee old/"$1" >new/"$1"; }

recipe unet.toml <<'TOML'
[data]
source = "digits"
[network]
name = "unet"
block_out_channels = [8, 16]
down_block_types = ["DownBlock2D", "AttnDownBlock2D"]
up_block_types = ["AttnUpBlock2D", "UpBlock2D"]
layers_per_block = 1
attention_head_dim = 8
norm_num_groups = 4
[model]
prediction = "v"
sigma_data = 1.0
[training]
batch = 16
flip = true
[sampling]
steps = 12
guidance = 2.0
clip = { range = 1.0 }
TOML
recipe chain.toml <<'TOML'
[data]
source = "digits"
[schedule]
name = "chain"
[network]
name = "unet"
block_out_channels = [8, 16]
down_block_types = ["DownBlock2D", "DownBlock2D"]
up_block_types = ["UpBlock2D", "UpBlock2D"]
layers_per_block = 1
norm_num_groups = 4
[model]
prediction = "noise"
sigma_data = 1.0
[objective.levels]
distribution = { name = "indices" }
[training]
batch = 16
dequantise = false
[sampling]
solver = "ancestral"
grid = "leading"
steps = 20
clip = { range = 1.0 }
TOML
recipe learned.toml <<'TOML'
[data]
source = "digits"
[schedule]
name = "learned"
lambda_min = -7.0
lambda_max = 13.3
[network]
name = "mlp"
hidden = 64
blocks = 2
[model]
prediction = "v"
sigma_data = 1.0
clock = "log-snr"
[objective]
kind = "bound"
[training]
batch = 64
dequantise = false
[sampling]
solver = "ancestral"
grid = "time"
steps = 20
TOML
recipe adaptive.toml <<'TOML'
[data]
source = "moons"
[schedule]
name = "edm"
[objective]
adaptive = { bins = 32 }
[training]
batch = 128
[sampling]
solver = "heun"
grid = "karras"
steps = 12
TOML
# Of points: samples of tables keep the limits and decimals of their columns, as those of OLD do not.
recipe energy.toml <<'TOML'
[data]
source = "moons"
[network]
name = "mlp"
hidden = 64
blocks = 2
[model]
energy = true
[training]
batch = 32
accumulate = 2
[sampling]
steps = 12
TOML

trained digits digits
trained points points
for name in unet chain learned adaptive energy; do trained "$name" "$name.toml"; done

# The chain of the run is that of diffusers: exported and imported again, it is the same model. `tweedie.json` describes
# rows and may gain and lose keys.
if both export chain --out checkpoint && both import checkpoint --out again; then
    for file in model_index.json unet/config.json unet/diffusion_pytorch_model.safetensors \
        scheduler/scheduler_config.json; do
        compare export "${file#*/}" {old,new}/checkpoint/"$file"
    done
    compare import "weights of OLD and NEW" {old,new}/again/model.safetensors
    compare import "weights as before the export" new/{chain,again}/model.safetensors
    sampled import again again --steps 20
    compare import "samples as before the export" new/{chain,again}.npy
else
    failed export "export and import"
fi

for folder in "$fixtures"/*/; do
    name=$(basename "$folder")
    [ "$name" != unfinished-end ] || continue
    for side in old new; do
        cp -r "$folder" "$side/v1-$name"
        # As the run was when it was killed.
        if [ -e "$folder/killed.safetensors" ]; then
            mv "$side/v1-$name/killed.safetensors" "$side/v1-$name/checkpoint.safetensors"
            rm "$side/v1-$name/model.safetensors"
        fi
    done
    if [ "$name" != imported ]; then
        both train digits --out "v1-$name" --resume || { failed "v1/$name" resuming && continue; }
        compare "v1/$name" "weights after resuming" {old,new}/"v1-$name"/model.safetensors
    fi
    sampled "v1/$name" "v1-$name" "v1-$name"
done

if [ $differences -gt 0 ]; then
    echo "$differences differences; the runs are in $work"
    exit 1
fi
rm -rf "$work"
echo "no differences"
