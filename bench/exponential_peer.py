"""End points of diffusers' exponential integrators on the exact denoiser of a small Gaussian mixture.

Run with NumPy, PyTorch, torchsde and diffusers:

    python bench/exponential_peer.py

It writes crates/tweedie/tests/fixtures/exponential.json, which the tests of the suite's `solvers::family_peer` read. The
mixture and its denoiser are those of `peer_mixture.py`. Each scheduler is given levels of a variance-preserving process
uniform in the log-SNR in place of its own, in double precision, so that what is compared are its steps. The stochastic ones
are given the noise sin(1 + 7 number + 3 row + column), number being the step; DPM-Solver++ (stochastic) has two for each step, of
its halves, and its noise of a whole step is made of both as one path has it.
"""

import json
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    DPMSolverSinglestepScheduler,
    UniPCMultistepScheduler,
)
from peer_mixture import betas, denoise, known, starts, tensor

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/exponential.json"


def noise(step):
    return np.array([[np.sin(1 + 7 * step + 3 * r + c) for c in range(2)] for r in range(6)]).astype(np.float32)


def run(scheduler, steps):
    scheduler.set_timesteps(steps)
    ell = np.linspace(-4.0, 4.0, steps + 1)
    scheduler.sigmas = torch.from_numpy(np.exp(-ell))
    scheduler.timesteps = torch.arange(steps, 0, -1)
    if hasattr(scheduler, "get_order_list"):
        scheduler.order_list = scheduler.get_order_list(steps)
    x = starts.copy()
    stochastic = "sde" in scheduler.config.get("algorithm_type", "")
    for k, t in enumerate(scheduler.timesteps):
        alpha, sigma = 1 / np.sqrt(1 + np.exp(-2 * ell[k])), 1 / np.sqrt(1 + np.exp(2 * ell[k]))
        more = {"variance_noise": tensor(noise(k))} if stochastic else {}
        x = scheduler.step(tensor(denoise(x, alpha, sigma)), t, tensor(x), **more).prev_sample.double().numpy()
    return x.tolist()


def run_halves(steps):
    scheduler = DPMSolverSDEScheduler(**betas, prediction_type="epsilon")
    scheduler.set_timesteps(steps)
    rho = np.exp(-np.linspace(-4.0, 4.0, steps + 1))
    scheduler.sigmas = torch.from_numpy(np.repeat(rho, 2)[1:-1])
    scheduler.timesteps = torch.arange(2 * steps, 0, -1)
    calls = iter(range(2 * steps))

    def path(a, b):
        step, whole = divmod(next(calls), 2)
        first, second = noise(2 * step).astype(float), noise(2 * step + 1).astype(float)
        if not whole:
            return tensor(first)
        a, b = float(a), float(b)
        m = np.sqrt(a * b)
        spread = lambda a, b: b * np.sqrt(1 - (b / a) ** 2)
        both = first * spread(a, m) * (b / m) ** 2 + second * spread(m, b)
        return tensor(both / spread(a, b))

    scheduler.noise_sampler = path
    y = starts * np.sqrt(1 + rho[0] ** 2)
    for k in range(2 * steps):
        at = rho[k // 2] if k % 2 == 0 else np.sqrt(rho[k // 2] * rho[k // 2 + 1])
        alpha = 1 / np.sqrt(1 + at**2)
        eps = (y - denoise(alpha * y, alpha, alpha * at)) / at
        y = scheduler.step(tensor(eps), scheduler.timesteps[k], tensor(y)).prev_sample.double().numpy()
    return (y / np.sqrt(1 + rho[-1] ** 2)).tolist()


plain = dict(**betas, prediction_type="sample")
keep = dict(plain, lower_order_final=False, final_sigmas_type="sigma_min")


def single(algorithm, order):
    return DPMSolverSinglestepScheduler(**keep, algorithm_type=algorithm, solver_order=order)


def multi(algorithm, order):
    return DPMSolverMultistepScheduler(**keep, algorithm_type=algorithm, solver_order=order)


def deis(order):
    return DEISMultistepScheduler(**plain, lower_order_final=False, solver_order=order)


def unipc(order, b, data):
    return UniPCMultistepScheduler(**keep, solver_order=order, solver_type=b, predict_x0=data)


cases = [
    ({"name": "dpm++2s"}, 12, lambda: run(single("dpmsolver++", 2), 24)),
    ({"name": "dpm++2s", "eta": 1.0}, 12, lambda: run_halves(12)),
    ({"name": "dpm", "order": 1}, 20, lambda: run(single("dpmsolver", 1), 20)),
    ({"name": "dpm", "order": 2}, 12, lambda: run(single("dpmsolver", 2), 24)),
    ({"name": "dpm", "order": 3}, 40, lambda: run(single("dpmsolver", 3), 120)),
    ({"name": "dpm++2m"}, 20, lambda: run(multi("dpmsolver++", 2), 20)),
    ({"name": "dpm++2m", "eta": 1.0}, 20, lambda: run(multi("sde-dpmsolver++", 2), 20)),
    ({"name": "ancestral"}, 20, lambda: run(multi("sde-dpmsolver++", 1), 20)),
    *[({"name": "deis", "order": o}, 20, lambda o=o: run(deis(o), 20)) for o in (1, 2, 3)],
    *[
        (
            {"name": "unipc", "order": o, "b": b, "of": of},
            20,
            lambda o=o, b=b, of=of: run(unipc(o, b, of == "data"), 20),
        )
        for o in (1, 2, 3)
        for b in ("bh1", "bh2")
        for of in ("data", "noise")
    ],
]
fixture = {
    "made_by": f"bench/exponential_peer.py with diffusers {diffusers.__version__}",
    **known,
    "cases": [{"solver": s, "steps": n, "ends": f()} for s, n, f in cases],
    "third": [{"steps": n, "ends": run(multi("dpmsolver++", 3), n)} for n in (256, 512, 1024)],
}
TARGET.write_text(json.dumps(fixture, indent=1) + "\n")
