"""zuko's RealNVP on eight Gaussians, of the size and with the training of the recipe `coupling`.

Run with NumPy, PyTorch and zuko:

    python bench/flow_peer.py                          # the recipe's size, three seeds
    python bench/flow_peer.py --steps 3000 --seeds 1   # another training
    python bench/flow_peer.py --relu                   # zuko's own activation

Each coupling is affine, with an MLP of SiLU that sees one column and shifts and scales the other, the columns taking
turns. Rows are standardised by the training rows' mean and deviation. AdamW (no weight decay, gradients cut to norm 1),
a rise over 100 steps, then half a cosine to zero; an average of the weights is judged. What is printed is the mean over
fresh rows of ln p(x) − log q(x) in nats with its standard error, p the mixture itself: the distance from the entropy.
Rows that a flow all but excludes would make the mean as large as one likes: they are left out and counted.
"""

import argparse
import math
import time

import numpy as np
import torch
import zuko

CENTRES = 5 * np.array([[math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)] for k in range(8)])
VARIANCE = math.sqrt(0.1)
WARMUP = 100
# A row whose log q is so many nats too low counts as lost, in favour of the flow.
LOST = 50


def draw(n, random):
    return CENTRES[random.integers(8, size=n)] + math.sqrt(VARIANCE) * random.standard_normal((n, 2))


def log_density(x):
    squares = ((x[:, None] - CENTRES) ** 2).sum(2)
    return np.logaddexp.reduce(-squares / (2 * VARIANCE), axis=1) - math.log(8 * 2 * math.pi * VARIANCE)


def factor(step, steps):
    rise = min(1.0, (step + 1) / WARMUP)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0, step - WARMUP) / max(1, steps - WARMUP)))


def distance(flow, mean, scale, rows):
    """The mean of ln p − log q, its standard error, and how many rows are left out as lost."""
    with torch.no_grad():
        x = torch.tensor((rows - mean) / scale, dtype=torch.float32)
        found = torch.cat([flow().log_prob(part) for part in x.split(4096)]).double().numpy()
    gap = log_density(rows) - (found - np.log(scale).sum())
    kept = gap[gap < LOST]
    return kept.mean(), kept.std(ddof=1) / math.sqrt(len(kept)), len(gap) - len(kept)


def train(options, seed):
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    train_rows, fresh = draw(50_000, random), draw(options.rows, random)
    mean, scale = train_rows.mean(0), train_rows.std(0)
    x = torch.tensor((train_rows - mean) / scale, dtype=torch.float32)
    activation = torch.nn.ReLU if options.relu else torch.nn.SiLU
    hidden = [options.hidden] * options.layers
    flow = zuko.flows.RealNVP(2, transforms=options.transforms, hidden_features=hidden, activation=activation)
    average = [p.detach().clone() for p in flow.parameters()]
    optimiser = torch.optim.AdamW(flow.parameters(), lr=options.rate, weight_decay=0.0)
    start, order, at = time.perf_counter(), torch.randperm(len(x)), 0
    for step in range(options.steps):
        if at + options.batch > len(x):
            order, at = torch.randperm(len(x)), 0
        batch, at = x[order[at : at + options.batch]], at + options.batch
        for group in optimiser.param_groups:
            group["lr"] = options.rate * factor(step, options.steps)
        optimiser.zero_grad()
        (-flow().log_prob(batch).mean() / 2).backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimiser.step()
        decay = min(options.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, now in zip(average, flow.parameters()):
                kept.lerp_(now, 1 - decay)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        for kept, now in zip(average, flow.parameters()):
            now.copy_(kept)
    parameters = sum(p.numel() for p in flow.parameters())
    gap, error, lost = distance(flow, mean, scale, fresh)
    print(f"seed {seed}: {gap:.4f} ± {error:.4f} nats, {lost} of {options.rows} rows lost", end=", ")
    print(f"{parameters} parameters, {seconds:.0f} s", flush=True)
    return gap


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in [("transforms", 16), ("hidden", 64), ("layers", 2), ("steps", 6000), ("batch", 512)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--relu", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gaps = [train(options, seed) for seed in range(options.seeds)]
    print(f"mean {np.mean(gaps):.4f}, deviation over seeds {np.std(gaps, ddof=1) if len(gaps) > 1 else 0:.4f}")


if __name__ == "__main__":
    main()
