"""A small transformer of PyTorch: its weights, its output and its gradients.

Run with PyTorch:

    python bench/transformer_peer.py

It writes crates/tweedie/tests/fixtures/transformer.json: the state dict of an nn.TransformerEncoder of pre-norm layers with
GELU and a last normalisation, in single-precision numbers of at most four decimals, a batch of tokens, the output, and
the gradients of sum(output * upstream). The suite's `transformer` tests read that file.
"""

import json
from pathlib import Path

import torch
from torch import nn

from fixtures import array, rounded

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/transformer.json"
WIDTH, HEADS, LAYERS, HIDDEN, SAMPLES, TOKENS = 4, 2, 2, 6, 2, 3
torch.manual_seed(20250611)
torch.set_num_threads(1)


layer = nn.TransformerEncoderLayer(
    WIDTH, HEADS, HIDDEN, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
)
net = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
with torch.no_grad():
    for parameter in net.parameters():
        parameter.copy_(rounded(*parameter.shape, scale=0.7))
x = rounded(SAMPLES, TOKENS, WIDTH).requires_grad_()
y = net(x)
upstream = rounded(*y.shape)
(y * upstream).sum().backward()
fixture = {
    "torch": torch.__version__,
    "x": array(x),
    "y": array(y),
    "upstream": array(upstream),
    "dx": array(x.grad),
    "weights": {name: array(parameter) for name, parameter in net.state_dict().items()},
    "gradients": {name: array(parameter.grad) for name, parameter in net.named_parameters()},
}
assert fixture["weights"].keys() == fixture["gradients"].keys()
TARGET.write_text(json.dumps(fixture) + "\n")
print(f"{TARGET}: {TARGET.stat().st_size} bytes by torch {torch.__version__}")
