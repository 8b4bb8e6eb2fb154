"""Pareto shapes of importance weights and of exceedances by ArviZ.

Run with NumPy and ArviZ (`pip install "arviz<1"`):

    python bench/divergence_peer.py

It writes crates/tweedie/tests/fixtures/divergence.json: log weights and exceedances of at most three decimals, and
ArviZ's k-hat of each in double precision. The test `divergence::importance` reads that file.
"""

import json
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import arviz
import numpy as np
from arviz.stats.stats import _gpdfit

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/divergence.json"
random = np.random.default_rng(20250922)


def weights(name, values):
    """A case of log weights."""
    values = np.round(values, 3)
    return {"name": name, "log_weights": values.tolist(), "k": float(arviz.psislw(values.copy())[1])}


def exceedances(name, values):
    """A case of exceedances over a threshold."""
    values = np.maximum(np.round(values, 3), 0.001)
    return {"name": name, "exceedances": values.tolist(), "k": float(_gpdfit(np.sort(values))[0])}


def pareto(k, n):
    return np.expm1(-k * np.log(random.uniform(size=n))) / k


cases = {
    "weights": [
        weights("normal", random.normal(size=400)),
        weights("heavy", 1.1 * random.exponential(size=300)),
        weights("light", random.uniform(size=250)),
        weights("shifted", 900 + 0.4 * random.exponential(size=60)),
        weights("few", random.normal(size=25)),
    ],
    "exceedances": [
        exceedances("k = 0.5", pareto(0.5, 120)),
        exceedances("k = 1.3", pareto(1.3, 90)),
        exceedances("bounded", random.uniform(size=41)),
        exceedances("five", pareto(0.2, 5)),
    ],
}
TARGET.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
