"""End points of diffusers' samplers on the exact denoiser of a small Gaussian mixture.

Run with NumPy, PyTorch and diffusers:

    python bench/solvers_peer.py

It writes crates/tweedie/tests/fixtures/solvers.json: a mixture, starting points, the levels that each scheduler visits
(as alpha and sigma) and where it ends. diffusers steps in single precision; the denoiser here is in double precision
and written without reference to the Rust one. The tests of the suite's `solvers` read that file.
"""

import json
from pathlib import Path

import diffusers
import numpy as np
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from peer_mixture import betas, denoise, known, starts, tensor

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/solvers.json"

def dpm(steps, **options):
    """DPM-Solver++(2M) without its lower-order last step, which the solver under test does not take."""
    scheduler = DPMSolverMultistepScheduler(
        **betas,
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="sigma_min",
        **options,
    )
    scheduler.set_timesteps(steps)
    ratios = scheduler.sigmas.double().numpy()
    alphas = 1 / np.sqrt(1 + ratios**2)
    levels = [[a, a * r] for a, r in zip(alphas, ratios)]
    x = starts.copy()
    for (alpha, sigma), t in zip(levels, scheduler.timesteps):
        x = scheduler.step(tensor(denoise(x, alpha, sigma)), t, tensor(x)).prev_sample.numpy()
    # Some grids end by a step of no length.
    return {"levels": levels[:-1] if levels[-1] == levels[-2] else levels, "ends": x.tolist()}


def ddim(steps):
    scheduler = DDIMScheduler(
        **betas, prediction_type="sample", clip_sample=False, set_alpha_to_one=False, timestep_spacing="leading"
    )
    scheduler.set_timesteps(steps)
    # The last step goes from time 0 to time 0.
    times = scheduler.timesteps.numpy()
    products = scheduler.alphas_cumprod.double().numpy()[times]
    levels = [[a, s] for a, s in zip(np.sqrt(products), np.sqrt(1 - products))]
    x = starts.copy()
    for (alpha, sigma), t in zip(levels[:-1], times):
        x = scheduler.step(tensor(denoise(x, alpha, sigma)), int(t), tensor(x)).prev_sample.numpy()
    # One stochastic step from each level: its mean, and how far noise of 1 moves it.
    stochastic = []
    for k in range(len(times) - 1):
        data = tensor(denoise(starts, *levels[k]))
        at = lambda noise: scheduler.step(
            data, int(times[k]), tensor(starts), eta=0.5, variance_noise=tensor(np.full_like(starts, noise))
        ).prev_sample.numpy()
        mean = at(0.0)
        stochastic.append({"mean": mean.tolist(), "sd": float((at(1.0) - mean)[0, 0])})
    return {"levels": levels, "ends": x.tolist(), "half_eta": stochastic}


fixture = {
    "made_by": f"bench/solvers_peer.py with diffusers {diffusers.__version__}",
    **known,
    "dpm_linear": dpm(20),
    "dpm_karras": dpm(12, use_karras_sigmas=True),
    "dpm_lu": dpm(16, use_lu_lambdas=True),
    "ddim": ddim(20),
}
TARGET.write_text(json.dumps(fixture, indent=1) + "\n")
