"""The density models of `tweedie bench` in PyTorch, zuko, scikit-learn and POT, by the same names.

bench/speed_peer.py takes these benchmarks in where the libraries are installed. Flows are zuko's, of five masked MLPs of
128 and 128 units and, in `cnf`, a velocity of 64 and 64 with the tolerances of `tweedie bench`; log p and samples record
nothing. The gated PixelCNN has the layers of ours: 2 x 3 convolutions downwards, three taps to the left, 32 channels.
MADE has one hidden layer and multiplies its weights by masks, as is usual. Autoencoders are those of Burda, Grosse and
Salakhutdinov's protocol.
"""

import importlib.util
import math
import time

import torch
from torch import nn
from torch.nn import functional as F

COLUMNS, BATCH, ROWS, SIDE, WARM_UP = 10, 512, 2000, 28, 3
TOLERANCE = 1e-5


def installed(*names):
    return all(importlib.util.find_spec(name) for name in names)


def clocked(work):
    def timed():
        before = time.perf_counter()
        work()
        return time.perf_counter() - before

    return timed


class MaskedLinear(nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x):
        return F.linear(x, self.mask * self.weight, self.bias)


class Made(nn.Module):
    """One hidden layer; logits of pixels of zeros and ones."""

    def __init__(self, hidden, columns=SIDE * SIDE):
        super().__init__()
        degrees = torch.arange(hidden) * (columns - 1) // hidden
        column = torch.arange(columns)
        self.first = MaskedLinear(column <= degrees[:, None])
        self.last = MaskedLinear(degrees < column[:, None])

    def forward(self, x):
        return self.last(self.first(x).relu())


def gate(x):
    a, b = x.chunk(2, 1)
    return a.tanh() * b.sigmoid()


class GatedLayer(nn.Module):
    def __init__(self, first, channels):
        super().__init__()
        read = 1 if first else channels
        self.first = first
        self.vertical = nn.Conv2d(read, 2 * channels, (2, 3))
        self.horizontal = nn.Conv2d(read, 2 * channels, (1, 3))
        self.across = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, v, h):
        # The first layer reads the two rows above and the three pixels to the left; the others their own, too.
        up, left = (2, 3) if self.first else (1, 2)
        rows, columns = v.shape[2:]
        a = self.vertical(F.pad(v, (1, 1, up, 0)))[:, :, :rows]
        b = self.horizontal(F.pad(h, (left, 0, 0, 0)))[:, :, :, :columns] + self.across(a)
        more = self.out(gate(b))
        return gate(a), more if self.first else h + more


class PixelCnn(nn.Module):
    def __init__(self, channels=32, layers=5, hidden=64):
        super().__init__()
        self.layers = nn.ModuleList(GatedLayer(k == 0, channels) for k in range(layers))
        self.features = nn.Conv2d(channels, hidden, 1)
        self.head = nn.Conv2d(hidden, 1, 1)

    def forward(self, x):
        v = h = x.view(-1, 1, SIDE, SIDE)
        for layer in self.layers:
            v, h = layer(v, h)
        return self.head(self.features(h.relu()).relu()).flatten(1)


def binary(n):
    return torch.randn(n, SIDE * SIDE).sign()


def log_p(model, x):
    return -F.binary_cross_entropy_with_logits(model(x), (x + 1) / 2, reduction="none").sum(1)


def flow(name):
    import zuko

    if name == "cnf":
        return zuko.flows.CNF(COLUMNS, hidden_features=(64, 64), activation=nn.Tanh, atol=TOLERANCE, rtol=TOLERANCE)
    hidden = {"transforms": 5, "hidden_features": (128, 128)}
    return zuko.flows.MAF(COLUMNS, **hidden) if name == "maf" else zuko.flows.NSF(COLUMNS, bins=8, **hidden)


def trained(model, loss):
    """A benchmark of a step of Adam, fused."""

    def made():
        network = model()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

        def step():
            value = loss(network)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            return value.item()

        for _ in range(WARM_UP):
            step()
        return clocked(step), {}

    return made


def plain(model, work):
    """A benchmark of work that records nothing, after a first time."""

    def made():
        network = model()

        def recordless():
            with torch.no_grad():
                work(network)

        recordless()
        return clocked(recordless), {}

    return made


def pictures(name, model, batch, rows):
    x, few = binary(batch), binary(rows)
    return {
        f"{name}.{batch}.train": trained(model, lambda network: -log_p(network, x).mean()),
        f"{name}.{rows}.log-p": plain(model, lambda network: log_p(network, few)),
    }


class Autoencoder(nn.Module):
    """784 pixels, two tanh layers of 200 units each way, 50 latent dimensions."""

    def __init__(self, width=50, hidden=200, pixels=SIDE * SIDE):
        super().__init__()
        inner = lambda first: [nn.Linear(first, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()]
        self.encoder = nn.Sequential(*inner(pixels), nn.Linear(hidden, 2 * width))
        self.decoder = nn.Sequential(*inner(width), nn.Linear(hidden, pixels))

    def log_weights(self, x, k):
        mean, log_sd = self.encoder(x).chunk(2, -1)
        noise = torch.randn(k, *mean.shape)
        z = mean + log_sd.exp() * noise
        logits, bits = self.decoder(z), ((x + 1) / 2).expand(k, *x.shape)
        seen = -F.binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(-1)
        # The constants of both normal densities cancel.
        return seen + (0.5 * (noise**2 - z**2) + log_sd).sum(-1)

    def bound(self, x, k):
        if k > 1:
            return self.log_weights(x, k).logsumexp(0) - math.log(k)
        mean, log_sd = self.encoder(x).chunk(2, -1)
        logits = self.decoder(mean + log_sd.exp() * torch.randn_like(mean))
        seen = -F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="none").sum(-1)
        return seen - 0.5 * (mean**2 + (2 * log_sd).exp() - 2 * log_sd - 1).sum(-1)


def autoencoders():
    found = {}
    for name, k in (("vae", 1), ("iwae-50", 50)):
        for batch in (100, 20):
            x = binary(batch)
            loss = lambda network, x=x, k=k: -network.bound(x, k).mean()
            found[f"{name}.{batch}.train"] = trained(Autoencoder, loss)
    x = binary(1)
    found["vae.5000.log-p"] = plain(Autoencoder, lambda network: network.log_weights(x, 5000).logsumexp(0))
    return found


def flows():
    found = {}
    x, rows = torch.randn(BATCH, COLUMNS), torch.randn(ROWS, COLUMNS)
    for name in ("maf", "spline", "cnf"):
        model = lambda name=name: flow(name)
        found[f"{name}.{COLUMNS}.{BATCH}.train"] = trained(model, lambda network: -network().log_prob(x).mean())
        found[f"{name}.{COLUMNS}.{ROWS}.log-p"] = plain(model, lambda network: network().log_prob(rows))
        found[f"{name}.{COLUMNS}.{ROWS}.sample"] = plain(model, lambda network: network().sample((ROWS,)))
    return found


def em():
    from sklearn.mixture import GaussianMixture

    x = torch.randn(20_000, COLUMNS).double().numpy()
    mixture = GaussianMixture(20, random_state=0, max_iter=1)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit(x)

    def step():
        # The two halves of an iteration of `fit`.
        _, shares = mixture._e_step(x)
        mixture._m_step(x, shares)

    return clocked(step), {}


def kde():
    from sklearn.neighbors import KernelDensity

    rows, queries = (torch.randn(n, COLUMNS).double().numpy() for n in (10_000, 2000))
    estimate = KernelDensity(bandwidth="scott").fit(rows)
    return clocked(lambda: estimate.score_samples(queries)), {}


def w2(columns):
    import ot

    def made():
        x, y = (torch.randn(2000, columns).double().numpy() for _ in range(2))
        weights = ot.unif(2000)
        return clocked(lambda: ot.emd2(weights, weights, ot.dist(x, y), numItermax=10**7)), {}

    return made


def benchmarks():
    found = {}
    if installed("zuko"):
        found |= flows()
    found |= pictures("made-8000", lambda: Made(8000), 64, 16)
    found |= pictures("pixelcnn", PixelCnn, 32, 16)
    found |= autoencoders()
    if installed("sklearn"):
        found |= {"em.10.20000.step": em, "kde.10.2000.log-p": kde}
    if installed("ot"):
        found |= {"w2.2.2000": w2(2), "w2.10.2000": w2(10)}
    return found
