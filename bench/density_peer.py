"""Masked autoregressive and spline flows beside zuko's, on tables: test log p after equal steps.

Run with NumPy, PyTorch, zuko and a built program:

    python bench/density_peer.py magic.dat                          # both flows, three seeds
    python bench/density_peer.py texture.dat --flows spline --seeds 1
    python bench/density_peer.py magic.dat --compare                # our five kinds of density beside each other
    python bench/density_peer.py means                              # a mixture, whose entropy is printed
    python bench/density_peer.py scales

`means` and `scales` are 20,000 rows of twenty columns from two equal Gaussians, with means ±0.5 in every column and
covariance I, and with means 0 and 0.5 and covariances 3 I and I. Log p of columns of these, standardised, is set beside
the entropy in the same units, of 1,000,000 draws.

The rows of a table of numbers, whose last column is a class and left out, are divided 80/10/10 by NumPy's
RandomState(1234) into an archive that both sides read. Columns are standardised by the training rows alone. Five
transforms, MLPs of two hidden layers of 128 units with ReLU, AdamW, batches of 512, gradients cut to norm 5, half a
cosine to zero, the weights of the best of the validation losses computed every 100 steps. What is printed is the mean
log p of the test rows in nats, in standardised units, with seconds of training on `--threads` threads.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import zuko

PROGRAM = Path(__file__).parent.parent / "target/release/tweedie"
# Layer, steps and rate of each flow.
FLOWS = {"affine": (3000, 1e-3), "spline": (1500, 1e-3)}
HIDDEN = [128, 128]
BATCH = 512


def mixture(name, rows, random):
    """Rows of a mixture of two equal Gaussians in twenty columns, and their log p."""
    parts = {"means": ((-0.5, 1.0), (0.5, 1.0)), "scales": ((0.0, 3.0), (0.5, 1.0))}[name]
    mean, variance = np.array(parts)[random.randint(2, size=rows)].T[..., None]
    x = mean + np.sqrt(variance) * random.standard_normal((rows, 20))
    log_p = [-0.5 * (((x - m) ** 2).sum(1) / v + 20 * np.log(2 * np.pi * v)) for m, v in parts]
    return x, np.logaddexp(*log_p) - np.log(2)


def table(path):
    random = np.random.RandomState(1234)
    if path in ("means", "scales"):
        rows, _ = mixture(path, 20_000, random)
        scale = rows[:16_000].std(0)
        _, log_p = mixture(path, 1_000_000, random)
        print(f"minus the entropy: {log_p.mean() + np.log(scale).sum():.4f} ± {log_p.std() / 1000:.4f} nats")
        return split(rows)
    lines = Path(path).read_text().splitlines()
    rows = [line.replace(",", " ").split()[:-1] for line in lines if line.strip() and line[0] not in "@#"]
    rows = np.array(rows, dtype=np.float64)
    return split(rows[random.permutation(len(rows))])


def split(rows):
    tenth = len(rows) // 10
    train, valid, test = rows[: -2 * tenth], rows[-2 * tenth : -tenth], rows[-tenth:]
    mean, scale = train.mean(0), train.std(0)
    return [((part - mean) / scale).astype(np.float32) for part in (train, valid, test)]


def peer(kind, parts, seed, steps, rate):
    torch.manual_seed(seed)
    train, valid, test = map(torch.tensor, parts)
    columns = train.shape[1]
    make = zuko.flows.MAF if kind == "affine" else zuko.flows.NSF
    flow = make(columns, transforms=5, hidden_features=HIDDEN)
    optimiser = torch.optim.AdamW(flow.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, state, start = math.inf, None, time.perf_counter()
    for step in range(steps):
        batch = train[torch.randint(len(train), (BATCH,))]
        loss = -flow().log_prob(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                held_out = -flow().log_prob(valid).mean().item()
            if held_out < best:
                best, state = held_out, {k: v.clone() for k, v in flow.state_dict().items()}
    seconds = time.perf_counter() - start
    flow.load_state_dict(state)
    with torch.no_grad():
        log_p = flow().log_prob(test).double()
    return log_p.mean().item(), log_p.std().item() / math.sqrt(len(test)), seconds


def settings_of(kind, archive, seed, steps, rate):
    layers = '[{ name = "masked", hidden = [128, 128], activation = "relu", map = "%s" }, { name = "permutation" }]'
    return {
        "data": '{ source = "%s" }' % archive,
        "flow.depth": 5,
        "flow.layers": layers % kind,
        "seed": seed,
        "training.steps": steps,
        "training.batch": BATCH,
        "training.learning_rate": rate,
        "training.adamw.clip": 5.0,
        "training.selection": '"best"',
        "training.held_out_every": 100,
        "training.held_out_rows": 100000,
        "training.sample_every": 0,
        "evaluation.samples": 500,
    }


def train(program, recipe, run, settings, environment):
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [program, "train", recipe, "--out", run, *sets]
    subprocess.run(command, check=True, env=environment, capture_output=True)


def compare(program, archive, threads):
    """Prints log p and paired differences of two flows, two mixtures and a kernel estimate."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    data = {"data": '{ source = "%s" }' % archive}
    models = [(kind, "maf", settings_of(kind, archive, 0, *FLOWS[kind])) for kind in ("spline", "affine")]
    models += [(f"mixture-{k}", "gmm", {**data, "mixture.components": k}) for k in (50, 10)]
    models.append(("kernels", "kde", data))
    with tempfile.TemporaryDirectory() as folder:
        runs = [os.path.join(folder, name) for name, _, _ in models]
        for run, (_, recipe, settings) in zip(runs, models):
            train(program, recipe, run, settings, environment)
        subprocess.run([program, "compare", *runs], check=True, env=environment)


def own(program, kind, archive, seed, steps, rate, threads):
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        train(program, "maf", run, settings_of(kind, archive, seed, steps, rate), environment)
        seconds = time.perf_counter() - start
        command = [program, "evaluate", run, "--metric", "logp", "--json"]
        found = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    log_p = json.loads(found.stdout)["log_p"][0]
    return log_p["mean"], log_p["standard_error"], seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--flows", nargs="+", default=list(FLOWS), choices=list(FLOWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="steps in place of each flow's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compare", action="store_true", help="compare our own densities instead")
    parser.add_argument("--program", default=str(PROGRAM))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = table(options.table)
    print(f"{options.table}: {' / '.join(str(len(part)) for part in parts)} rows of {parts[0].shape[1]}")
    with tempfile.TemporaryDirectory() as folder:
        archive = os.path.join(folder, "table.npz")
        np.savez(archive, **dict(zip(("train", "valid", "test"), parts)))
        if options.compare:
            return compare(options.program, archive, options.threads)
        for kind in options.flows:
            steps, rate = FLOWS[kind]
            steps = options.steps or steps
            means = []
            for seed in range(options.seeds):
                ours = own(options.program, kind, archive, seed, steps, rate, options.threads)
                theirs = peer(kind, parts, seed, steps, rate)
                means.append(ours[0] - theirs[0])
                for name, (mean, error, seconds) in (("tweedie", ours), ("zuko", theirs)):
                    print(f"{kind} seed {seed} {name:8}{mean:9.4f} ± {error:.4f} nats{seconds:8.1f} s", flush=True)
            print(f"{kind}: tweedie above zuko by {np.mean(means):.4f} nats, mean of {options.seeds} seeds")


if __name__ == "__main__":
    main()
