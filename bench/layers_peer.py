"""Layers, activations and AdamW of small fixed inputs by PyTorch.

Run with PyTorch:

    python bench/layers_peer.py

It writes crates/tweedie/tests/fixtures/layers.json: weights and inputs, single-precision numbers of at most four
decimals, and what PyTorch makes of them in single precision: outputs, the gradients of sum(output * upstream), and
30 steps of AdamW. The integration tests of `tweedie::nn` and `tweedie::train` read that file.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from fixtures import array, rounded

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/layers.json"
torch.manual_seed(20240607)
torch.set_num_threads(1)


def layer(module, x):
    """A layer with new parameters, its output, and its gradients."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(rounded(*parameter.shape, scale=0.5))
    if x.is_floating_point():
        x.requires_grad_()
    y = module(x)
    upstream = rounded(*y.shape)
    (y * upstream).sum().backward()
    result = {"y": array(y), "upstream": array(upstream)}
    if x.is_floating_point():
        result |= {"x": array(x), "dx": array(x.grad)}
    else:
        result["x"] = {"shape": list(x.shape), "values": x.tolist()}
    for name, parameter in module.named_parameters():
        result[name] = array(parameter)
        result["d" + name] = array(parameter.grad)
    return result


def activation(function):
    x = torch.cat([torch.linspace(-6, 6, 49), torch.tensor([-100.0, -30.0, -15.0, 15.0, 30.0, 100.0])])
    x.requires_grad_()
    y = function(x)
    y.sum().backward()
    return {"x": array(x), "y": array(y), "dx": array(x.grad)}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.second = nn.Linear(5, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def adamw():
    """30 steps on a small regression; weights decay, biases do not; some gradients are clipped, some are not."""
    net = Small()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(rounded(*parameter.shape))
    start = {name: array(parameter) for name, parameter in net.named_parameters()}
    x, target = rounded(8, 3), rounded(8, 2)
    settings = {"rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6, "weight_decay": 0.3, "clip": 1.0}
    matrices = [p for p in net.parameters() if p.ndim >= 2]
    vectors = [p for p in net.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings["rate"],
        betas=(settings["beta_1"], settings["beta_2"]),
        eps=settings["epsilon"],
    )
    losses, norms, after = [], [], {}
    for step in range(1, 31):
        optimiser.zero_grad()
        loss = F.mse_loss(net(x), target)
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), settings["clip"]).item())
        losses.append(loss.item())
        optimiser.step()
        if step in (1, 10, 30):
            after[str(step)] = {name: array(parameter) for name, parameter in net.named_parameters()}
    assert min(norms) < settings["clip"] < max(norms), norms
    return settings | {"start": start, "x": array(x), "target": array(target), "losses": losses, "norms": norms, "after": after}


fixture = {
    "torch": torch.__version__,
    "linear": layer(nn.Linear(4, 3), rounded(5, 4)),
    "conv2d": layer(nn.Conv2d(3, 4, 3, padding=1), rounded(2, 3, 5, 6)),
    "conv2d_stride_2": layer(nn.Conv2d(2, 3, 3, stride=2, padding=1), rounded(2, 2, 7, 6)),
    "conv2d_wide": layer(nn.Conv2d(2, 2, 5, padding=2), rounded(1, 2, 6, 5)),
    "conv2d_point": layer(nn.Conv2d(3, 2, 1), rounded(2, 3, 3, 3)),
    "group_norm": layer(nn.GroupNorm(2, 6), rounded(2, 6, 3, 4, scale=2.0) + 1.0),
    "group_norm_rows": layer(nn.GroupNorm(1, 8), rounded(4, 8)),
    "embedding": layer(nn.Embedding(6, 3), torch.tensor([4, 0, 4, 5, 1])),
    "silu": activation(F.silu),
    "gelu": activation(F.gelu),
    "softplus": activation(F.softplus),
    "tanh": activation(torch.tanh),
    "relu": activation(F.relu),
    "adamw": adamw(),
}
TARGET.write_text(json.dumps(fixture) + "\n")
print(f"{TARGET}: {TARGET.stat().st_size} bytes by torch {torch.__version__}")
print("gradient norms", [round(norm, 3) for norm in fixture["adamw"]["norms"]])
