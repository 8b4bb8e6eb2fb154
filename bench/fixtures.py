"""What the scripts that write PyTorch's fixtures share."""

import torch


def rounded(*shape, scale=1.0):
    """Normal numbers of four decimals."""
    return (torch.randn(*shape) * scale * 1e4).round() / 1e4


def array(tensor):
    """Shape and flat values with the nine digits that single precision needs."""
    tensor = tensor.detach()
    return {"shape": list(tensor.shape), "values": [float(f"{v:.9g}") for v in tensor.flatten().tolist()]}
