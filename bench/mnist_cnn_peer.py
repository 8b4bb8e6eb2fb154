"""How many labels of MNIST's test set the classifier of data/classifiers/mnist_cnn.toml finds, by PyTorch.

Run with PyTorch and safetensors, on a folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz:

    python bench/mnist_cnn_peer.py FOLDER mnist_cnn.safetensors
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

folder, weights = Path(sys.argv[1]), sys.argv[2]


def idx(name, header):
    return np.frombuffer(gzip.open(folder / name).read(), np.uint8, offset=header)


convolution = lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
network = nn.ModuleDict(
    {
        "features": nn.Sequential(*convolution(1, 32), *convolution(32, 64)),
        "classifier": nn.Sequential(nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)),
    }
)
network.load_state_dict(load_file(weights))
pictures = torch.from_numpy(idx("t10k-images-idx3-ubyte.gz", 16).astype(np.float32)).view(-1, 1, 28, 28)
labels = torch.from_numpy(idx("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64))
with torch.no_grad():
    seen = [network["features"]((x / 255 - 0.1307) / 0.3081).flatten(1) for x in pictures.split(500)]
    found = network["classifier"](torch.cat(seen)).argmax(1)
print((found == labels).sum().item(), "of", len(labels))
