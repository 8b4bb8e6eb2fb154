"""Sample metrics of small fixed inputs by SciPy, POT and scikit-learn.

Run with NumPy, SciPy, POT (`pip install pot`) and scikit-learn:

    python bench/metrics_peer.py

It writes crates/tweedie/tests/fixtures/metrics.json: the inputs, which are single-precision numbers of at most four
decimals, and what each library makes of them in double precision. The unit tests of `tweedie::metric` and
`tweedie::transport::assignment` read that file.
"""

import json
from pathlib import Path

import numpy as np
import ot
import scipy
import sklearn
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from scipy.stats import energy_distance
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/metrics.json"
random = np.random.default_rng(20240607)


def rounded(values):
    """What single precision makes of four decimals, in double precision."""
    return np.round(values, 4).astype(np.float32).astype(np.float64)


def decimals(values):
    return np.round(values, 4).tolist()


def two_sample(kernel):
    """V- and U-statistic of E k(X, X') + E k(Y, Y') - 2 E k(X, Y)."""
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = xy.shape
    off = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    return {
        "biased": xx.mean() + yy.mean() - 2 * xy.mean(),
        "unbiased": off(xx) + off(yy) - 2 * xy.mean(),
    }


def gaussian(bandwidths):
    kernel = lambda a, b: sum(rbf_kernel(a, b, gamma=0.5 / s**2) for s in bandwidths)
    return {"bandwidths": bandwidths, **two_sample(kernel)}


def classifier():
    """The leave-one-out accuracy of 1-NN on all rows, on x and on y."""
    kinds = np.repeat([1, 0], [len(x), len(y)])
    one_nearest = KNeighborsClassifier(1, algorithm="brute")
    right = cross_val_predict(one_nearest, np.vstack([x, y]), kinds, cv=LeaveOneOut()) == kinds
    return {"accuracy": right.mean(), "real": right[kinds == 1].mean(), "fake": right[kinds == 0].mean()}


def nearest(queries, references):
    """Distances and indices of the nearest references."""
    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(references).kneighbors(queries)
    return [part[:, 0] for part in found]


x = rounded(random.normal(size=(60, 3)))
y = rounded(random.normal(size=(50, 3)) * [1.5, 1.0, 0.6] + [0.8, -0.3, 0.0])
x_labels = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0).astype(int)
y_labels = (y[:, 0] > 0).astype(int) + 2 * (y[:, 1] > 0).astype(int)
directions = random.normal(size=(20, 3))
directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)

wide = cdist(y, x, "sqeuclidean")
rows, columns = linear_sum_assignment(wide)
square = cdist(x[:50], y, "sqeuclidean")
uniform = ot.unif(50)
sliced = lambda a, b: ot.sliced_wasserstein_distance(a, b, projections=directions.astype(np.float64).T, p=2)
median = float(np.median(pdist(np.vstack([x, y]))))

fixture = {
    "versions": {m.__name__: m.__version__ for m in (np, scipy, ot, sklearn)},
    "x": decimals(x),
    "y": decimals(y),
    "x_labels": x_labels.tolist(),
    "y_labels": y_labels.tolist(),
    "directions": directions.astype(np.float64).tolist(),
    "assignment": {"cost": wide[rows, columns].sum(), "columns": columns.tolist()},
    "exact": np.sqrt(ot.emd2(uniform, uniform, square)),
    "exact_by_scipy": np.sqrt(square[linear_sum_assignment(square)].mean()),
    "line": np.sqrt(ot.wasserstein_1d(x[:, 0], y[:, 0], p=2)),
    "sliced": sliced(x, y),
    "sliced_equal_sizes": sliced(x[:50], y),
    "median": median,
    "mmd": gaussian([0.7]),
    "mmd_sum": gaussian([0.5 * median, median, 2.0 * median]),
    "energy": two_sample(lambda a, b: -cdist(a, b)),
    "energy_of_first_coordinate_by_scipy": energy_distance(x[:, 0], y[:, 0]),
    "classifier": classifier(),
    "nearest": [nearest(y, x)[1].tolist(), nearest(y, x)[0].tolist()],
    "agreement": np.mean(x_labels[nearest(y, x)[1]] == y_labels),
    "memorisation": np.mean(nearest(y, x[:30])[0] < nearest(y, x[30:])[0]),
}
TARGET.parent.mkdir(parents=True, exist_ok=True)
TARGET.write_text(json.dumps(fixture) + "\n")
