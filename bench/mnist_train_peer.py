"""The recipe `mnist` in PyTorch, for as long as tweedie takes, to be judged by tweedie beside its own run.

    tweedie export runs/mnist -o exported
    python bench/mnist_train_peer.py exported MNIST_FOLDER peer --minutes 18.4
    tweedie import peer -o runs/peer && tweedie evaluate runs/peer --data MNIST_FOLDER --features … -n 10000 --guidance 1.15

It takes the UNet's configuration and the noise levels of the exported run, not its weights, and writes the same folder with
the average of what it learnt: diffusers' UNet2DModel, v prediction, batches of 32, a tenth of the labels dropped, AdamW
with clipping, a rate that rises over 100 steps and falls along a cosine, and the average of the weights, all as the recipe
has them. The first 30 steps tell how many fit the time.
"""

import argparse
import gzip
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

RATE, BATCH, EMA, DECAY, CLIP, WARM_UP, DROPOUT = 1e-3, 32, 0.999, 0.01, 1.0, 100, 0.1
TIMED = 30


def idx(path, header):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=header)


def begin_at_zero(net):
    """Residual branches and the output begin at zero, as tweedie's do."""
    for name, module in net.named_modules():
        if name.endswith((".conv2", ".to_out.0")) or name == "conv_out":
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exported", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    pictures = torch.tensor(idx(options.data / "train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).copy())
    labels = torch.tensor(idx(options.data / "train-labels-idx1-ubyte.gz", 8).copy()).long()
    net = UNet2DModel.from_config(UNet2DModel.load_config(options.exported / "unet"))
    begin_at_zero(net)
    betas = json.loads((options.exported / "scheduler/scheduler_config.json").read_text())["trained_betas"]
    alpha_bar = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0).float()
    matrices = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    adam = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}], RATE)
    average = {name: p.detach().clone() for name, p in net.named_parameters()}
    none = net.config.num_class_embeds - 1
    start, steps, k, order = time.time(), None, 0, torch.randperm(len(pictures))
    while steps is None or k < steps:
        at = k * BATCH % (len(pictures) - BATCH)
        if at < BATCH and k > 0:
            order = torch.randperm(len(pictures))
        chosen = order[at : at + BATCH]
        x = (pictures[chosen].float() + torch.rand(BATCH, 1, 28, 28)) / 128 - 1
        label = torch.where(torch.rand(BATCH) < DROPOUT, none, labels[chosen])
        index = torch.randint(len(betas), (BATCH,))
        alpha, sigma = (v.sqrt().view(-1, 1, 1, 1) for v in (alpha_bar[index], 1 - alpha_bar[index]))
        noise = torch.randn_like(x)
        output = net(alpha * x + sigma * noise, index, class_labels=label).sample
        loss = (output - (alpha * noise - sigma * x)).square().mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        rise = min((k + 1) / WARM_UP, 1.0)
        done = max(k - WARM_UP, 0) / max((steps or 10**9) - WARM_UP, 1)
        for group in adam.param_groups:
            group["lr"] = RATE * rise * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        adam.step()
        keep = min(EMA, (1 + k) / (10 + k))
        with torch.no_grad():
            for name, p in net.named_parameters():
                average[name].lerp_(p, 1 - keep)
        k += 1
        if k == TIMED:
            start = time.time()
        if k == 2 * TIMED:
            each = (time.time() - start) / TIMED
            steps = round(60 * options.minutes / each)
            print(f"{1e3 * each:.1f} ms a step: {steps} steps in {options.minutes} minutes", flush=True)
        if k % 500 == 0:
            print(f"step {k}: loss {loss.item():.4f}, {time.time() - start:.0f} s", flush=True)
    shutil.copytree(options.exported, options.out, dirs_exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in average.items()}
    save_file(state, options.out / "unet/diffusion_pytorch_model.safetensors")
    print(f"{options.out}: {k} steps in {(time.time() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
