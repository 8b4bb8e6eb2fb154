"""Games on eight Gaussians: which losses and regularisers find all of them. Writes docs/games.md.

    cargo build --release
    python3 bench/games.py [--seeds 5] [--only NAME,NAME] [--runs FOLDER]

Every run is of `tweedie train`: MLPs of 128 x 3 against each other, batches of 256, on a ring of radius 2 with standard
deviation 0.1. Runs that are there are not trained again. Standard library alone.
"""

import argparse
import csv
import json
import math
import os
import random
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODES, RADIUS, SPREAD, ROWS, SAMPLES = 8, 2.0, 0.1, 10_000, 10_000
LEAST = 0.05  # of the samples, within three standard deviations of a mode

R1, R2 = "{name='r1', weight=0.01}", "{name='r2', weight=0.01}"
PENALTY = "{name='gradient-penalty', weight=1.0}"
F = "f-divergence, divergence = '%s'"
# name, loss, regularisers, critic steps, steps
VARIANTS = [
    ("relativistic, R₁ and R₂ (R3GAN)", "relativistic", [R1, R2], 1, 3000),
    ("non-saturating, R₁", "non-saturating", [R1], 1, 3000),
    ("Wasserstein, gradient penalty", "wasserstein", [PENALTY], 3, 1500),
    ("non-saturating", "non-saturating", [], 1, 3000),
    ("MMD of 8 outputs, gradient penalty", "mmd, features = 8", [PENALTY], 2, 800),
    ("MMD of rows", "mmd, features = 0, kernel = 'gaussian'", [], 0, 2000),
    ("hinge, spectral norm", "hinge", ["'spectral-norm'"], 2, 1500),
    ("Wasserstein, clipping", "wasserstein", ["'clipping, limit = 0.1'"], 3, 1500),
    ("KL, R₁", F % "kl", [R1], 1, 2000),
    ("reverse KL, R₁", F % "reverse-kl", [R1], 1, 2000),
    ("saturating, R₁", "saturating", [R1], 1, 2000),
    ("hinge, R₁", "hinge", [R1], 1, 2000),
    ("least squares, R₁", "least-squares", [R1], 1, 2000),
    ("Hellinger, R₁", F % "hellinger", [R1], 1, 2000),
    ("Jensen–Shannon, R₁", F % "js", [R1], 1, 2000),
    ("total variation, R₁", F % "tv", [R1], 1, 2000),
    ("Pearson, R₁", F % "pearson", [R1], 1, 2000),
    ("Neyman, R₁", F % "neyman", [R1], 1, 2000),
    ("Wasserstein, spectral norm", "wasserstein", ["'spectral-norm'"], 2, 1500),
]


def centre(k):
    return RADIUS * math.cos(math.tau * k / MODES), RADIUS * math.sin(math.tau * k / MODES)


def ring(path):
    draw = random.Random(0)
    with open(path, "w") as out:
        out.write("x,y\n")
        for i in range(ROWS):
            x, y = centre(i % MODES)
            out.write(f"{draw.gauss(x, SPREAD):.6f},{draw.gauss(y, SPREAD):.6f}\n")


def recipe(loss, regularisers, critic_steps, steps, seed):
    return f"""about = "a game on eight Gaussians"
family = "adversarial"
seed = {seed}

[data]
source = "ring.csv"

[generator]
latent = 2
network = {{ name = 'mlp', activation = 'relu' }}

[critic]
loss = "{loss}"
regularisers = [{", ".join(regularisers)}]
steps = {max(critic_steps, 1)}
network = {{ name = 'mlp', activation = 'relu' }}

[training]
steps = {steps}
batch = 256
learning_rate = 2e-3
adamw = {{ beta_1 = 0.0, beta_2 = 0.99 }}
decay = "cosine"
ema = 0.995
sample_every = 0
held_out_every = 0
"""


def shares(samples):
    """The share of samples within three standard deviations of each mode."""
    counts, rows = [0] * MODES, 0
    with open(samples) as lines:
        for row in csv.reader(lines):
            try:
                x, y = float(row[0]), float(row[1])
            except ValueError:
                continue
            rows += 1
            for k in range(MODES):
                a, b = centre(k)
                counts[k] += math.hypot(x - a, y - b) < 3 * SPREAD
    return [count / rows for count in counts]


def measured(program, runs, variant, seed):
    name, loss, regularisers, critic_steps, steps = variant
    folder = runs / f"{VARIANTS.index(variant):02d}-{seed}"
    kept = folder / "shares.json"
    if kept.exists():
        return json.loads(kept.read_text())
    folder.mkdir(exist_ok=True)
    text = recipe(loss, regularisers, critic_steps, steps, seed)
    (folder / "recipe.toml").write_text(text)
    quiet = {"cwd": runs, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    start = os.times()
    run = str(folder.relative_to(runs) / "run")
    done = subprocess.run([program, "train", f"{folder.name}/recipe.toml", "--out", run], **quiet)
    end = os.times()
    seconds = end.children_user + end.children_system - start.children_user - start.children_system
    if done.returncode:
        found = {"shares": [0.0] * MODES, "seconds": seconds, "error": done.stderr.strip().splitlines()[-1]}
    else:
        out = f"{folder.name}/samples.csv"
        subprocess.run([program, "sample", run, "-n", str(SAMPLES), "-o", out], check=True, **quiet)
        found = {"shares": shares(runs / out), "seconds": seconds}
        (runs / out).unlink()
    kept.write_text(json.dumps(found))
    return found


def row(name, critic_steps, found):
    least = [min(f["shares"]) for f in found]
    whole = [sum(f["shares"]) for f in found]
    modes = [sum(share >= LEAST for share in f["shares"]) for f in found]
    good = sum(m == MODES for m in modes)
    middle = lambda values: sorted(values)[len(values) // 2]
    seconds = middle([f["seconds"] for f in found])
    return (
        f"| {name} | {critic_steps} | {good} of {len(found)} | {', '.join(map(str, modes))} "
        f"| {100 * min(least):.1f} % | {100 * middle(whole):.0f} % | {100 * max(whole):.0f} % | {seconds:.0f} s |"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "games")
    parser.add_argument("--program", default=str(ROOT / "target" / "release" / "tweedie"))
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    options.runs.mkdir(parents=True, exist_ok=True)
    ring(options.runs / "ring.csv")
    chosen = [v for v in VARIANTS if not options.only or v[0] in options.only.split(";")]
    lines = []
    for variant in chosen:
        found = [measured(options.program, options.runs, variant, seed) for seed in range(options.seeds)]
        lines.append(row(variant[0], variant[3], found))
        print(lines[-1], *{f["error"] for f in found if "error" in f}, flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
