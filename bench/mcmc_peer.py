"""Rank-normalised split R-hat and bulk ESS of small fixed chains by ArviZ.

Run with NumPy and ArviZ (`pip install "arviz<1"`):

    python bench/mcmc_peer.py

It writes crates/tweedie/tests/fixtures/mcmc.json: chains of at most three decimals, and what ArviZ makes of them in
double precision; null where that is not a number. The test `mcmc::diagnostics` reads that file.
"""

import json
import math
import warnings
from pathlib import Path

import arviz
import numpy as np

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/mcmc.json"
random = np.random.default_rng(20250711)
warnings.simplefilter("ignore")


def autoregressive(chains, draws, rho):
    """Stationary chains with autocorrelations rho^t and unit variance."""
    x = np.empty((chains, draws))
    x[:, 0] = random.normal(size=chains)
    for k in range(1, draws):
        x[:, k] = rho * x[:, k - 1] + math.sqrt(1 - rho**2) * random.normal(size=chains)
    return x


def normal(*shape):
    return random.normal(size=shape)


stuck = normal(3, 50)
stuck[1] = 0.7
CHAINS = {
    "independent": normal(4, 100),
    "slow, of odd length": autoregressive(4, 151, 0.9),
    "very slow": autoregressive(2, 120, 0.99),
    "alternating": autoregressive(2, 100, -0.6),
    "strongly alternating": autoregressive(3, 64, -0.95),
    "at different places": normal(4, 80) + np.arange(4)[:, None],
    "of different widths": normal(4, 90) * np.array([0.3, 1.0, 1.0, 3.0])[:, None],
    "heavy-tailed": random.standard_cauchy(size=(4, 64)),
    "with ties": random.poisson(1.5, size=(3, 101)).astype(float),
    "of two values": random.integers(0, 2, size=(2, 61)).astype(float),
    "with a trend": normal(2, 100) + np.linspace(0, 4, 100),
    "a walk": np.cumsum(normal(2, 90), axis=1),
    "one of them stuck": stuck,
    "one chain": autoregressive(1, 200, 0.5),
    "one short chain": normal(1, 9),
    **{f"of {n} draws": normal(3, n) for n in (4, 5, 6, 7, 8, 11)},
}


def number(value):
    return float(value) if math.isfinite(value) else None


cases = []
for name, chains in CHAINS.items():
    chains = np.round(chains, 3)
    r_hat, ess = arviz.rhat(chains, method="rank"), arviz.ess(chains, method="bulk")
    print(f"{name:24} {chains.shape} R-hat {float(r_hat):.4f}, ESS {float(ess):.1f}")
    cases.append({"name": name, "chains": chains.tolist(), "r_hat": number(r_hat), "bulk_ess": number(ess)})
fixture = {"versions": {m.__name__: m.__version__ for m in (np, arviz)}, "cases": cases}
TARGET.write_text(json.dumps(fixture) + "\n")
