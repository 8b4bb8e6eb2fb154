"""Metrics of pictures on small fixed features, and two small networks, by torch-fidelity, scikit-learn and PyTorch.

Run with NumPy, scikit-learn, PyTorch and torch-fidelity:

    python bench/image_metrics_peer.py

It writes crates/tweedie/tests/fixtures/image_metrics.json: features of four decimals and what each library makes of
them in double precision; and, in single precision, the weights, inputs, features and logits of two networks that have
every kind of layer between them. The tests of `tweedie::metric` and of `tweedie::metric::Classifier` read that file.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_poly, mmd2
from torch_fidelity.metric_prc import calculate_precision_recall_full

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/image_metrics.json"
random = np.random.default_rng(20240608)
torch.manual_seed(20240608)
torch.set_num_threads(1)


def rounded(values):
    """What single precision makes of four decimals, in double precision."""
    return np.round(values, 4).astype(np.float32).astype(np.float64)


def decimals(values):
    return np.round(values, 4).tolist()


def frechet_by_fidelity(a, b):
    statistics = [fid_features_to_statistics(torch.from_numpy(v)) for v in (a, b)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def frechet(a, b, common):
    """The distance given Tr (S1 S2)^(1/2)."""
    apart = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return apart + np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False)) - 2 * common


def by_eigenvalues(a, b):
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    return frechet(a, b, np.sqrt(np.linalg.eigvals(product).real.clip(0)).sum())


def by_rows(a, b):
    """Without a covariance: the singular values of the products of all centred rows of a with those of b."""
    products = (a - a.mean(0)) @ (b - b.mean(0)).T / np.sqrt((len(a) - 1) * (len(b) - 1))
    return frechet(a, b, np.linalg.norm(products, "nuc"))


def kernel_distance(a, b, estimate):
    kernels = [kernel_poly(u, v) for u, v in ((a, a), (a, b), (b, b))]
    return mmd2(*kernels, mmd_est=estimate)


def kernel_of_unequal(a, b):
    aa, bb, ab = [polynomial_kernel(u, v, degree=3, coef0=1) for u, v in ((a, a), (b, b), (a, b))]
    off = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    return off(aa) + off(bb) - 2 * ab.mean()


def subsets(a, b, count, size):
    chosen = [[random.choice(len(v), size, replace=False) for _ in range(count)] for v in (a, b)]
    values = [kernel_distance(a[i], b[j], "unbiased") for i, j in zip(*chosen)]
    [i, j] = [[c.tolist() for c in part] for part in chosen]
    return {"x": i, "y": j, "mean": np.mean(values), "spread": np.std(values)}


def share_within(rows, reference, k):
    """The share of rows in a ball around a reference that reaches to its k-th neighbour."""
    radii = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors()[0][:, -1]
    distances = np.linalg.norm(rows[:, None] - reference[None], axis=2)
    return np.mean((distances <= radii).any(1))


def precision(real, fake, k):
    return {"precision": share_within(fake, real, k), "recall": share_within(real, fake, k)}


def precision_by_fidelity(real, fake):
    found = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), 3)
    return dict(zip(("precision", "recall"), found))


def array(tensor):
    """Shape and flat values with the nine digits that single precision needs."""
    return {"shape": list(tensor.shape), "values": [float(f"{v:.9g}") for v in tensor.flatten().tolist()]}


@torch.no_grad()
def network(features, head):
    """A network with new parameters: its weights, features and logits of six pictures."""
    whole = nn.ModuleDict({"features": features, "head": head})
    for name, value in whole.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape) * 0.5
            value.copy_((drawn.abs() + 0.5 if name.endswith("var") else drawn).mul(1e4).round() / 1e4)
    whole.eval()
    pictures = torch.randint(0, 17, (6, 2, 9, 7)).float()
    mean, sd = torch.tensor([0.25, 0.5]).view(2, 1, 1), torch.tensor([0.5, 0.125]).view(2, 1, 1)
    seen = features((pictures / 16 - mean) / sd)
    result = {"pictures": array(pictures.flatten(1)), "features": array(seen)}
    if len(head):
        result["logits"] = array(head(seen))
    weights = {k: v for k, v in whole.state_dict().items() if v.is_floating_point()}
    return result | {"weights": {k: array(v) for k, v in weights.items()}}


x = rounded(random.normal(size=(48, 6)) @ random.normal(size=(6, 6)))
y = rounded(random.normal(size=(36, 6)) @ random.normal(size=(6, 6)) * 0.8 + 0.4)
flat_x, flat_y = (rounded(random.normal(size=(n, 8))) for n in (6, 7))
flat_x[:, 2] = 0
flat_y[:, [2, 5]] = 1
labels = random.integers(0, 6, size=len(x))
labels[::2] = x.argmax(1)[::2]

fixture = {
    "versions": {m: version(m) for m in ("numpy", "scikit-learn", "torch", "torch-fidelity")},
    "x": decimals(x),
    "y": decimals(y),
    "flat_x": decimals(flat_x),
    "flat_y": decimals(flat_y),
    "labels": labels.tolist(),
    "frechet": {
        "torch_fidelity": frechet_by_fidelity(x, y),
        "eigenvalues": by_eigenvalues(x, y),
        "singular": by_rows(flat_x, flat_y),
    },
    "kernel": {
        "all": {e: kernel_distance(x[: len(y)], y, e) for e in ("biased", "unbiased")},
        "unequal": kernel_of_unequal(x, y),
        "subsets": subsets(x, y, 5, 20),
    },
    "precision": {
        "torch_fidelity": precision_by_fidelity(x, y),
        "three": precision(x, y, 3),
        "five": precision(x, y, 5),
    },
    "accuracy": accuracy_score(labels, x.argmax(1)),
    "flat": network(
        nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 5),
            nn.Tanh(),
        ),
        nn.Sequential(nn.BatchNorm1d(5, eps=1e-3), nn.Linear(5, 3, bias=False)),
    ),
    "pooled": network(
        nn.Sequential(
            nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, bias=False),
            nn.GELU(),
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.AvgPool2d(2, stride=1, padding=1),
            nn.SiLU(),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        nn.Sequential(),
    ),
}
TARGET.parent.mkdir(parents=True, exist_ok=True)
TARGET.write_text(json.dumps(fixture) + "\n")
