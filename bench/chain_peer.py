"""Tables, timesteps and end points of diffusers' DDPM and DDIM schedulers.

Run with NumPy, PyTorch and diffusers:

    python bench/chain_peer.py

It writes crates/tweedie/tests/fixtures/chain.json: for each table of beta the products of 1 - beta at some indices; for
each spacing the timesteps; and where samplers end that start from given rows with a model and noise that both sides
compute. The samplers' steps are diffusers' own; their tables, in single precision, are replaced by the same ones in double
precision, so that ends agree to many digits. The suite's `chain` tests read that file.
"""

import json
from itertools import product
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/chain.json"

STARTS = np.array([[0.3, -1.1, 1.7, 0.4, -0.9, -0.6], [-0.1, 2.0, 0.8, 0.9, -2.2, 0.2]])
A = np.array([0.8, -0.5, 1.2, 0.3, -0.9, 0.6])
B = np.array([0.5, -1.0, 0.2, 0.7, 0.1, -0.4])

TABLES = {
    "linear": dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "scaled_linear": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "squaredcos_cap_v2": dict(beta_schedule="squaredcos_cap_v2"),
    "sigmoid": dict(beta_schedule="sigmoid", beta_start=1e-4, beta_end=0.02),
}


def model(x, t):
    return torch.tanh(torch.tensor(A)[:, None] * x + torch.tensor(B)[:, None] * (float(t) / 1000))


def noise(step):
    """Uniform numbers of unit variance from a linear congruential generator."""
    out = np.empty_like(STARTS)
    for row, column in np.ndindex(*out.shape):
        state = 1000 * step + 100 * row + column + 1
        for _ in range(3):
            state = (1103515245 * state + 12345) % 2**31
        out[row, column] = np.sqrt(3) * (2 * (state + 0.5) / 2**31 - 1)
    return torch.tensor(out.astype(np.float32).astype(np.float64))[:, :, None]


def precise(scheduler, kind, n, zero):
    """The scheduler with its table in double precision."""
    config, u = scheduler.config, torch.arange(n + 1, dtype=torch.float64) / n
    first, last = config.beta_start, config.beta_end
    line = lambda a, b: torch.linspace(a, b, n, dtype=torch.float64)
    if kind == "linear":
        betas = line(first, last)
    elif kind == "scaled_linear":
        betas = line(first**0.5, last**0.5) ** 2
    elif kind == "squaredcos_cap_v2":
        bars = torch.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = torch.clamp(1 - bars[1:] / bars[:-1], max=0.999)
    else:
        betas = torch.sigmoid(line(-6, 6)) * (last - first) + first
    if zero:
        betas = scheduling_ddpm.rescale_zero_terminal_snr(betas)
    bars = torch.cumprod(1 - betas, dim=0)
    assert torch.allclose(bars, scheduler.alphas_cumprod.double(), atol=3e-6)
    scheduler.alphas_cumprod = bars
    if getattr(scheduler, "final_alpha_cumprod", torch.tensor(1.0)) != 1:
        scheduler.final_alpha_cumprod = bars[0]
    return scheduler


def schedule(kind, n, zero):
    """The recipe's words for a table."""
    own = {k: v for k, v in TABLES[kind].items() if k != "beta_schedule"}
    return dict(name="chain", betas=kind, steps=n, zero_terminal_snr=zero, **own)


def config(kind, n, zero):
    return dict(num_train_timesteps=n, rescale_betas_zero_snr=zero, **TABLES[kind])


def tables():
    for kind, zero in product(TABLES, [False, True]):
        bars = DDPMScheduler(**config(kind, 1000, zero)).alphas_cumprod.double().numpy()
        indices = [0, 1, 10, 250, 500, 900, 998, 999]
        yield dict(schedule=schedule(kind, 1000, zero), indices=indices, bars=[bars[i] for i in indices])


SPACINGS = {
    "leading": (dict(timestep_spacing="leading", steps_offset=0), dict(name="leading", offset=0)),
    "offset": (dict(timestep_spacing="leading", steps_offset=1), dict(name="leading", offset=1)),
    "trailing": (dict(timestep_spacing="trailing"), dict(name="trailing")),
    "linspace": (dict(timestep_spacing="linspace"), dict(name="linspace")),
}


def timesteps():
    for n, (theirs, ours) in product([1000, 50, 37], SPACINGS.values()):
        for steps in [1, 2, 3, 4, 7, 8, 10, 13, 15, 16, 20, 25, 30, 37, 40, 50, 64, 100, 250, 333, 600, 750, 999, 1000]:
            if steps > n:
                continue
            scheduler = DDPMScheduler(**config("linear", n, False), **theirs)
            scheduler.set_timesteps(steps)
            visited = scheduler.timesteps.tolist()
            # Not what is meant: an index beyond the chain, or one too many by rounding.
            if max(visited) >= n or min(visited) < 0 or len(visited) != steps:
                continue
            yield dict(steps=n, grid=ours, n=steps, indices=visited)


CLIPS = {
    "none": (dict(clip_sample=False), None),
    "range": (dict(clip_sample=True, clip_sample_range=0.8), dict(range=0.8)),
    "dynamic": (
        dict(clip_sample=False, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=1.5),
        dict(dynamic=dict(ratio=0.7, max=1.5)),
    ),
}
PREDICTIONS = dict(noise="epsilon", data="sample", v="v_prediction")


def run(scheduler, n, step):
    scheduler.set_timesteps(n)
    # Thresholding takes pictures: six channels of one pixel.
    x = torch.tensor(STARTS)[:, :, None]
    for k, t in enumerate(scheduler.timesteps):
        x = step(k, model(x, t), t, x)
    if not torch.isfinite(x).all():
        return None
    return x[:, :, 0].numpy().tolist()


def case(kind, zero, spacing, clip, prediction, chain, n, **more):
    return dict(
        schedule=schedule(kind, chain, zero),
        grid=SPACINGS[spacing][1],
        clip=CLIPS[clip][1],
        prediction=prediction,
        steps=n,
        **more,
    )


def options(kind, zero, spacing, clip, prediction, chain):
    return dict(
        **config(kind, chain, zero),
        **SPACINGS[spacing][0],
        **CLIPS[clip][0],
        prediction_type=PREDICTIONS[prediction],
    )


def ddim(kind, zero, spacing, clip, prediction, n, eta, to_one):
    scheduler = DDIMScheduler(**options(kind, zero, spacing, clip, prediction, 1000), set_alpha_to_one=to_one)
    precise(scheduler, kind, 1000, zero)
    def step(k, out, t, x):
        return scheduler.step(out, t, x, eta=eta, variance_noise=noise(k) if eta > 0 else None).prev_sample

    return case(
        kind, zero, spacing, clip, prediction, 1000, n,
        solver=dict(name="ddim", eta=eta),
        last="denoise" if to_one else "stop",
        ends=run(scheduler, n, step),
    )


def ddpm(kind, zero, spacing, clip, prediction, chain, n, variance):
    scheduler = DDPMScheduler(
        **options(kind, zero, spacing, clip, prediction, chain), variance_type=f"fixed_{variance}"
    )
    precise(scheduler, kind, chain, zero)

    def step(k, out, t, x):
        scheduling_ddpm.randn_tensor = lambda *_, **__: noise(k)
        return scheduler.step(out, t, x).prev_sample

    return case(
        kind, zero, spacing, clip, prediction, chain, n,
        solver=dict(name="ancestral", variance=variance),
        last="denoise",
        ends=run(scheduler, n, step),
    )


def ends():
    # Noise prediction has no data at zero terminal SNR.
    for prediction, clip, eta, to_one in product(PREDICTIONS, CLIPS, [0.0, 1.0], [True, False]):
        yield ddim("scaled_linear", False, "offset", clip, prediction, 20, eta, to_one)
        yield ddim("linear", False, "leading", clip, prediction, 50, eta, to_one)
    for clip, eta, to_one in product(CLIPS, [0.0, 0.5, 1.0], [True, False]):
        yield ddim("scaled_linear", True, "trailing", clip, "v", 25, eta, to_one)
    yield ddim("squaredcos_cap_v2", False, "trailing", "range", "v", 10, 0.0, True)
    yield ddim("squaredcos_cap_v2", True, "trailing", "none", "data", 8, 1.0, True)
    for prediction, clip, variance in product(PREDICTIONS, CLIPS, ["small", "large"]):
        yield ddpm("linear", False, "leading", clip, prediction, 1000, 100, variance)
        yield ddpm("sigmoid", False, "linspace", clip, prediction, 50, 50, variance)
    yield ddpm("linear", False, "leading", "range", "noise", 1000, 1000, "small")
    yield ddpm("linear", False, "leading", "range", "noise", 1000, 1000, "large")
    yield ddpm("squaredcos_cap_v2", False, "linspace", "range", "noise", 1000, 30, "large")
    yield ddpm("linear", True, "trailing", "none", "v", 1000, 20, "small")


content = dict(
    peer=f"diffusers {diffusers.__version__}, torch {torch.__version__}",
    starts=STARTS.tolist(),
    a=A.tolist(),
    b=B.tolist(),
    tables=list(tables()),
    timesteps=list(timesteps()),
    # From pure noise with eta = 1 diffusers may take the root of a negative rounding error.
    ends=[end for end in ends() if end["ends"] is not None],
)
parts = ",\n".join(
    f' "{key}": ' + ("[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if isinstance(value, list) else json.dumps(value))
    for key, value in content.items()
)
TARGET.write_text("{\n" + parts + "\n}\n")
print(TARGET, TARGET.stat().st_size, "bytes")
