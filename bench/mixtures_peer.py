"""Gaussian mixtures by scikit-learn's EM, kernel density estimates and single distributions by SciPy.

Run with NumPy, SciPy and scikit-learn:

    python bench/mixtures_peer.py

It writes crates/tweedie/tests/fixtures/mixtures.json: small inputs of at most four decimals, and what each library
makes of them in double precision. The tests of the suite's `fit` read that file. The leave-one-out bandwidths are found by
SciPy's scalar minimiser on the sum over all pairs.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import stats
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/mixtures.json"
random = np.random.default_rng(20240611)
warnings.simplefilter("ignore", ConvergenceWarning)

STEPS = 15


def rounded(values):
    return np.round(values, 4)


def cloud(n):
    """Three overlapping Gaussians in three dimensions."""
    means = np.array([[0.0, 0.0, 1.0], [2.0, -1.0, 0.0], [-1.5, 1.5, -1.0]])
    mixing = np.array([[[1, 0, 0], [0.5, 0.7, 0], [0.1, -0.3, 0.4]], np.diag([0.6, 1.2, 0.8]), 0.7 * np.eye(3)])
    chosen = random.integers(3, size=n)
    return rounded(means[chosen] + np.einsum("nij,nj->ni", mixing[chosen], random.standard_normal((n, 3))))


def start(kind):
    """Weights, means and precisions that are far from the optimum."""
    weights = np.array([0.3, 0.5, 0.2])
    means = np.array([[0.5, 0.5, 0.5], [-0.5, 0.0, 0.2], [0.0, -0.8, -0.4]])
    matrix = np.array([[1.2, 0.2, -0.1], [0.2, 0.8, 0.1], [-0.1, 0.1, 0.6]])
    precisions = {
        "full": np.stack([matrix, 2 * matrix, np.eye(3)]),
        "tied": matrix,
        "diag": np.array([[1.0, 0.5, 2.0], [0.7, 0.7, 0.7], [1.5, 1.0, 0.4]]),
        "spherical": np.array([1.0, 0.5, 2.0]),
    }[kind]
    return weights, means, precisions


def summary(model):
    return {
        "likelihoods": [float(v) for v in model.lower_bounds_],
        "weights": model.weights_.tolist(),
        "means": model.means_.ravel().tolist(),
        "covariances": np.ravel(model.covariances_).tolist(),
        "parameters": int(model._n_parameters()),
        "bic": model.bic(x),
        "aic": model.aic(x),
        "log_densities": model.score_samples(x[:10]).tolist(),
        "responsibilities": model.predict_proba(x[:10]).ravel().tolist(),
    }


def em(kind):
    weights, means, precisions = start(kind)
    options = dict(covariance_type=kind, tol=0.0, max_iter=STEPS, reg_covar=1e-6)
    model = GaussianMixture(3, weights_init=weights, means_init=means, precisions_init=precisions, **options).fit(x)
    given = {"weights": weights.tolist(), "means": means.ravel().tolist(), "precisions": precisions.ravel().tolist()}
    return {"start": given, **summary(model)}


def em_of_responsibilities(kind, reg_covar):
    """From the M-step of hard responsibilities, row i belonging to component i mod 3."""
    model = GaussianMixture(3, covariance_type=kind, tol=0.0, max_iter=STEPS, reg_covar=reg_covar)
    shares = np.eye(3)[np.arange(len(x)) % 3]
    model._initialize_parameters = lambda x, *_, **more: model._initialize(x, shares, **more)
    return summary(model.fit(x))


def kde(data, at, weights):
    found = {}
    for name, method in [("scott", "scott"), ("silverman", "silverman"), ("number", 0.3)]:
        estimate = stats.gaussian_kde(data.T, bw_method=method, weights=weights)
        found[name] = {"factor": float(estimate.factor), "log_densities": estimate.logpdf(at.T).tolist()}
    n, d = data.shape
    w = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    white = np.linalg.solve(np.linalg.cholesky(np.atleast_2d(np.cov(data.T, aweights=w))), data.T).T
    squares = ((white[:, None] - white[None]) ** 2).sum(-1)
    np.fill_diagonal(squares, np.inf)
    constant = 0.5 * np.linalg.slogdet(2 * np.pi * np.atleast_2d(np.cov(data.T, aweights=w)))[1]

    def likelihood(s):
        terms = np.log(w) - 0.5 * squares * np.exp(-2 * s)
        return (w * (scipy.special.logsumexp(terms, axis=1) - np.log1p(-w))).sum() - d * s - constant

    bracket = np.log(found["silverman"]["factor"]) + np.array([-1.5, 0.7])
    best = minimize_scalar(lambda s: -likelihood(s), bounds=bracket, method="bounded", options={"xatol": 1e-9})
    found["loo"] = {"factor": float(np.exp(best.x)), "likelihood": float(-best.fun)}
    given = {"rows": data.tolist(), "at": at.tolist(), "weights": None if weights is None else weights.tolist()}
    return {**given, **found}


def single(column):
    t, laplace = stats.t.fit(column), stats.laplace.fit(column)
    fitted = lambda law, fit: {"fit": [float(v) for v in fit], "likelihood": float(law.logpdf(column, *fit).sum())}
    return {"values": column.tolist(), "t": fitted(stats.t, t), "laplace": fitted(stats.laplace, laplace)}


x = cloud(150)
plane = random.standard_normal((60, 2)) @ np.array([[1.0, 0.8], [0.0, 0.5]])
plane = rounded(plane + np.where(random.random((60, 1)) < 0.4, 3, 0))
line = rounded(np.concatenate([random.standard_normal(30), 4 + 0.3 * random.standard_normal(21)]))[:, None]
columns = {
    "heavy": rounded(1.5 + 0.7 * random.standard_t(3, 120)),
    "cauchy": rounded(-20 + 3 * random.standard_cauchy(121)),
    "normal": rounded(5 + 2 * random.standard_normal(120)),
    "uniform": rounded(random.random(101)),
    "rounded": np.round(2 * random.standard_t(4, 120)),
}
degrees, places = [0.3, 1.0, 3.0, 99.5, 100.5, 1e5], [0.5, 1.0, -8.0, 1e4]
kinds = ("full", "tied", "diag", "spherical")
fixture = {
    "made_by": f"bench/mixtures_peer.py with scikit-learn {sklearn.__version__} and SciPy {scipy.__version__}",
    "rows": x.tolist(),
    "em": {kind: em(kind) for kind in kinds},
    "em_of_responsibilities": {kind: em_of_responsibilities(kind, 0.01) for kind in kinds},
    "kde": {
        "plane": kde(plane, rounded(3 * random.standard_normal((12, 2))), None),
        "plane_weighted": kde(plane, rounded(3 * random.standard_normal((12, 2))), rounded(random.random(60))),
        "line": kde(line, np.array([[-3.0], [0.0], [2.2], [4.1], [60.0]]), None),
    },
    "single": {name: single(column) for name, column in columns.items()},
    "t_log_densities": [[nu, z, float(stats.t.logpdf(z, nu, 0.5, 2.0))] for nu in degrees for z in places],
}
TARGET.write_text(json.dumps(fixture) + "\n")
