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
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/solvers.json"

weights = np.array([0.5, 0.3, 0.2])
means = np.array([[1.0, 0.5], [-1.2, 0.8], [0.2, -1.5]])
covariances = np.array([[[0.10, 0.04], [0.04, 0.08]], [[0.20, -0.05], [-0.05, 0.06]], [[0.05, 0.0], [0.0, 0.15]]])
starts = np.array([[0.3, -1.1], [1.7, 0.4], [-0.9, -0.6], [-0.1, 2.0], [0.8, 0.9], [-2.2, 0.2]])
betas = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")


def denoise(x, alpha, sigma):
    """E[x0 | x] for x = alpha x0 + sigma eps."""
    logs, posteriors = [], []
    for w, m, c in zip(weights, means, covariances):
        noised = alpha**2 * c + sigma**2 * np.eye(2)
        residual = x - alpha * m
        solved = np.linalg.solve(noised, residual.T).T
        logs.append(np.log(w) - 0.5 * np.linalg.slogdet(noised)[1] - 0.5 * (residual * solved).sum(1))
        posteriors.append(m + alpha * solved @ c)
    logs = np.array(logs)
    r = np.exp(logs - logs.max(0))
    r /= r.sum(0)
    return (r[:, :, None] * np.array(posteriors)).sum(0)


def tensor(x):
    return torch.from_numpy(np.asarray(x, dtype=np.float64))


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
    "weights": weights.tolist(),
    "means": means.tolist(),
    "covariances": covariances.reshape(3, 4).tolist(),
    "starts": starts.tolist(),
    "dpm_linear": dpm(20),
    "dpm_karras": dpm(12, use_karras_sigmas=True),
    "dpm_lu": dpm(16, use_lu_lambdas=True),
    "ddim": ddim(20),
}
TARGET.write_text(json.dumps(fixture, indent=1) + "\n")
