"""PyTorch's side of `tweedie bench`: the same networks, batches and steps, eager, by the same keys.

Run with PyTorch (and diffusers for `unet-attention`); bench/speed.py runs both sides in turn:

    python bench/speed_peer.py [NAME]... [--rounds N] [--threads N] [--json]

Names and rounds are those of `tweedie bench`. `.train` is a step with torch.optim.Adam, fused, and no clipping, which is
less work than tweedie's step; `.train-ema` adds torch.optim.swa_utils' average of the weights. Names that end in
`-channels-last` hold pictures and weights in that format. For information `.train-clip` adds clip_grad_norm_,
`.train-adamw` takes AdamW in its place, and `.train-unfused` the default implementation of Adam.

`--check FOLDER` reads what `tweedie bench --export FOLDER` wrote, and prints the losses of its first training steps,
the additions and multiplications of a step by PyTorch's counter, and the distance between samples.
"""

import argparse
import contextlib
import importlib
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import speed_densities
import torch
from speed_densities import WARM_UP, clocked
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

ROUND, EXECUTIONS = 0.3, 3
WIDTH, SIDE, SAMPLES, STEPS = 32, 28, 64, 10


class Residual(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, i)
        self.conv1 = nn.Conv2d(i, o, 3, padding=1)
        self.time = nn.Linear(4 * WIDTH, o)
        self.norm2 = nn.GroupNorm(8, o)
        self.conv2 = nn.Conv2d(o, o, 3, padding=1)
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(time)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class PlainUNet(nn.Module):
    def __init__(self):
        super().__init__()
        c = WIDTH
        self.input = nn.Conv2d(1, c, 3, padding=1)
        self.time1 = nn.Linear(c, 4 * c)
        self.time2 = nn.Linear(4 * c, 4 * c)
        self.down1 = Residual(c, c)
        self.half1 = nn.Conv2d(c, c, 3, 2, 1)
        self.down2 = Residual(c, 2 * c)
        self.half2 = nn.Conv2d(2 * c, 2 * c, 3, 2, 1)
        self.down3 = Residual(2 * c, 4 * c)
        self.middle = Residual(4 * c, 4 * c)
        self.up3 = Residual(8 * c, 2 * c)
        self.up2 = Residual(4 * c, c)
        self.up1 = Residual(2 * c, c)
        self.norm = nn.GroupNorm(8, c)
        self.output = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x, features):
        t = F.silu(self.time2(F.silu(self.time1(features))))
        large = self.down1(self.input(x), t)
        half = self.down2(self.half1(large), t)
        small = self.down3(self.half2(half), t)
        x = self.middle(small, t)
        x = F.interpolate(self.up3(torch.cat([x, small], 1), t), scale_factor=2)
        x = F.interpolate(self.up2(torch.cat([x, half], 1), t), scale_factor=2)
        x = self.up1(torch.cat([x, large], 1), t)
        return self.output(F.silu(self.norm(x)))


class Mlp(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        sizes = [3, hidden, hidden, hidden, hidden, 2]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))
        self.net = nn.Sequential(*[part for layer in self.layers for part in (layer, nn.SiLU())][:-1])

    def load_state_dict(self, weights):
        self.layers.load_state_dict({key.removeprefix("layers."): value for key, value in weights.items()})

    def forward(self, x, _features):
        return self.net(x)


class AttentionUNet(nn.Module):
    """diffusers' UNet2DModel on 32 x 32 pictures with attention at 16 x 16 and in the middle."""

    def __init__(self):
        super().__init__()
        from diffusers import UNet2DModel

        self.net = UNet2DModel(
            sample_size=32,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(32, 64, 128),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=32,
        )

    def forward(self, x, times):
        return self.net(x, times[:, 0]).sample


class Transformer(nn.Module):
    """Four pre-norm layers on 64 tokens of 128 values."""

    def __init__(self):
        super().__init__()
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(128, 4, 512, **options)
        self.net = nn.TransformerEncoder(layer, 4, norm=nn.LayerNorm(128), enable_nested_tensor=False)

    def forward(self, x, _features):
        return self.net(x)


class Problem:
    """A network with a batch: x, features and the target, in the shapes that it takes."""

    def __init__(self, model, x, features, y):
        self.model, self.shapes = model, (x, features, y)
        self.batch = [torch.randn(*shape) for shape in self.shapes]

    def load(self, file):
        """Takes weights and batch from a file."""
        from safetensors.torch import load_file

        arrays = load_file(file)
        shapes = zip(("x", "features", "y"), self.shapes)
        self.batch = [arrays[key].reshape(shape) if key in arrays else None for key, shape in shapes]
        start = "network."
        weights = {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}
        # A network of a library is what it is called by; its keys are the library's.
        wrapped = isinstance(self.model, (AttentionUNet, Transformer))
        (self.model.net if wrapped else self.model).load_state_dict(weights)
        return arrays

    def channels_last(self):
        self.model.to(memory_format=torch.channels_last)
        x, features, y = self.batch
        self.batch = [x.contiguous(memory_format=torch.channels_last), features, y]
        return self

    @property
    def parameters(self):
        return sum(p.numel() for p in self.model.parameters())


def unet():
    x = (64, 1, SIDE, SIDE)
    return Problem(PlainUNet(), x, (64, WIDTH), x)


def attention_unet():
    x = (32, 3, 32, 32)
    problem = Problem(AttentionUNet(), x, (32, 1), x)
    problem.batch[1] = torch.randint(1000, (32, 1)).float()
    return problem


def transformer():
    x = (64, 64, 128)
    return Problem(Transformer(), x, (64, 1), x)


def mlp(hidden, rows):
    return Problem(Mlp(hidden), (rows, 3), (rows, 1), (rows, 2))


PROBLEMS = {"unet": unet, "unet-attention": attention_unet, "transformer": transformer}
for hidden in (128, 256):
    for rows in (256, 1024):
        PROBLEMS[f"mlp.3-{hidden}x4-2.{rows}"] = lambda hidden=hidden, rows=rows: mlp(hidden, rows)


class Trainer:
    def __init__(self, problem, optimiser=torch.optim.Adam, fused=True, clip=False, ema=False):
        self.model, self.batch, self.clip = problem.model, problem.batch, clip
        self.optimiser = optimiser(self.model.parameters(), lr=1e-3, fused=fused)
        self.ema = None
        if ema:
            average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
            self.ema = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=average)

    def step(self):
        x, features, y = self.batch
        loss = ((self.model(x, features) - y) ** 2).mean()
        self.optimiser.zero_grad()
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return loss.item()


def training(make, **options):
    def made():
        problem = make()
        trainer = Trainer(problem, **options)
        for _ in range(WARM_UP):
            trainer.step()
        return clocked(trainer.step), {"parameters": problem.parameters}

    return made


def inference(make):
    def made():
        problem = make()
        problem.model.eval()

        def work():
            with torch.no_grad():
                problem.model(*problem.batch[:2])

        for _ in range(WARM_UP):
            work()
        return clocked(work), {}

    return made


def vp_levels():
    """alpha, sigma and index in 1,000 steps of STEPS levels uniform in the log-SNR, from noise to data."""
    rate = lambda t: 0.05 * t + 0.5 * t * t * 9.95  # half the integral of beta, from 0.1 to 20
    log_snr = lambda t: -math.log(math.expm1(2 * rate(t)))
    time_of = lambda lam: (math.sqrt(0.05**2 + 9.95 * math.log1p(math.exp(-lam))) - 0.05) / 9.95
    first, last = 1e-5, 1.0
    ends = log_snr(last), log_snr(first)
    result = []
    for k in range(STEPS):
        lam = ends[0] + (ends[1] - ends[0]) * k / (STEPS - 1)
        alpha, sigma = math.sqrt(1 / (1 + math.exp(-lam))), math.sqrt(1 / (1 + math.exp(lam)))
        result.append((alpha, sigma, 999 * (time_of(lam) - first) / (last - first)))
    return result


def ddim(model, x, levels):
    """Ten evaluations; the last one gives the sample."""
    count = WIDTH // 2
    frequencies = 1e4 ** (-torch.arange(count) / count)
    with torch.no_grad():
        for k, (alpha, sigma, index) in enumerate(levels):
            phase = index * frequencies[None]
            noise = model(x, torch.cat([phase.sin(), phase.cos()], 1))
            data = (x - sigma * noise) / alpha
            if k + 1 == len(levels):
                return data
            x = levels[k + 1][0] * data + levels[k + 1][1] * noise


def sampling(make):
    def made():
        problem = make()
        levels = vp_levels()
        work = lambda: ddim(problem.model, problem.batch[0], levels)
        work()
        return clocked(work), {}

    return made


def operations():
    """Functions that make an operation's inputs, and the operation, by name; then whether it has pictures."""
    pictures = (64, 32, 28, 28)

    def conv(x, o, k, stride=1):
        shapes = [x, (o, x[1], k, k), (o,)]
        return shapes, lambda x, w, b: F.conv2d(x, w, b, stride=stride, padding=k // 2), True

    def attention(q, k, v):
        heads = [x.reshape(32, 256, 4, 32).transpose(1, 2) for x in (q, k, v)]
        return F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(32, 256, 128)

    norm = lambda x, w, b: F.silu(F.group_norm(x, 8, w, b))
    return {
        "conv3x3": conv(pictures, 32, 3),
        "conv3x3-128": conv((64, 128, 7, 7), 128, 3),
        "conv3x3-stride2": conv(pictures, 32, 3, 2),
        "conv1x1": conv((64, 64, 28, 28), 32, 1),
        "linear": ([(4096, 256), (256, 256), (256,)], F.linear, False),
        "attention": ([(32, 256, 128)] * 3, attention, False),
        "group-norm-silu": ([pictures, (32,), (32,)], norm, True),
        "layer-norm": ([(4096, 256), (256,), (256,)], lambda x, w, b: F.layer_norm(x, (256,), w, b), False),
        "silu": ([pictures], F.silu, False),
        "gelu": ([pictures], F.gelu, False),
        "double": ([(64, 32, 14, 14)], lambda x: F.interpolate(x, scale_factor=2), True),
        "join": ([pictures] * 2, lambda x, z: torch.cat([x, z], 1), True),
    }


def operation(shapes, run, last, backward):
    """A benchmark of an operation in one direction; its work gives the time in seconds."""

    def made():
        inputs = [torch.randn(*shape) for shape in shapes]
        if last:
            inputs = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs]
        inputs = [x.requires_grad_(backward) for x in inputs]

        def work():
            with torch.set_grad_enabled(backward):
                before = time.perf_counter()
                y = run(*inputs)
            if backward:
                # tweedie's backward pass makes the gradient of ones that it begins with.
                before = time.perf_counter()
                torch.autograd.grad(y, inputs, torch.ones_like(y))
            return time.perf_counter() - before

        for _ in range(WARM_UP):
            work()
        return work, {}

    return made


def optimiser():
    """A step of Adam on one parameter."""
    parameter = torch.randn(1 << 20, requires_grad=True)
    parameter.grad = torch.randn(1 << 20)
    step = clocked(torch.optim.Adam([parameter], lr=1e-3, fused=True).step)
    for _ in range(WARM_UP):
        step()
    return step, {}


def benchmarks():
    """Functions that make and warm up a benchmark, by name."""
    found = {}
    for name, (shapes, run, pictures) in operations().items():
        for direction, backward in (("forward", False), ("backward", True)):
            for ending, last in (("", False), ("-channels-last", True)):
                if pictures or not last:
                    found[f"ops.{name}.{direction}{ending}"] = operation(shapes, run, last, backward)
    found["ops.adamw.forward"] = optimiser
    for name, make in PROBLEMS.items():
        formats = {"": make}
        if name.startswith("unet"):
            formats["-channels-last"] = lambda make=make: make().channels_last()
        for ending, make in formats.items():
            found[f"{name}.train{ending}"] = training(make)
            found[f"{name}.train-ema{ending}"] = training(make, ema=True)
            found[f"{name}.forward{ending}"] = inference(make)
            if name == "unet":
                found[f"{name}.sample{ending}"] = sampling(make)
        if name in ("unet-attention", "transformer"):
            continue
        make = formats[""]
        found[f"{name}.train-unfused"] = training(make, fused=False)
        found[f"{name}.train-clip"] = training(make, clip=True)
        found[f"{name}.train-adamw"] = training(make, optimiser=torch.optim.AdamW)
    return found | speed_densities.benchmarks()


def begins(name, starts):
    cuts = [0, *(cut.end() for cut in re.finditer("[.-]", name))]
    return not starts or any(name[at:].startswith(start) for start in starts for at in cuts)


def one_round(work):
    times, start = [], time.perf_counter()
    while len(times) < EXECUTIONS or time.perf_counter() - start < ROUND:
        times.append(1e3 * work())
    return statistics.median(times)


def gemm():
    """GFLOP/s of the best of a few matrix products."""
    best = 0.0
    for width in (128, 256, 512, 1024):
        a, b = torch.randn(3072, width), torch.randn(width, width)
        out = torch.empty(3072, width)
        best = max(best, 2e-6 * 3072 * width * width / one_round(clocked(lambda: torch.mm(a, b, out=out))))
    return best


def ticks():
    """Clock ticks of all processors, of idle ones, and of this process, by /proc."""
    every = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    own = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    return sum(every), sum(every[3:5]), sum(map(int, own[11:13]))


def memory():
    """Resident and peak memory in MB (10^6 bytes)."""
    status = Path("/proc/self/status").read_text()
    return [int(re.search(key + r":\s*(\d+) kB", status)[1]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM")]


def memory_of(name):
    """Makes a benchmark; the peak memory and what was held before, in MB. What the libraries load at their first use is
    held before."""
    if name.startswith("unet-attention"):
        importlib.import_module("diffusers").UNet2DModel
    model = nn.Linear(1, 1)
    model(torch.ones(1, 1)).sum().backward()
    torch.optim.Adam(model.parameters(), fused=True).step()
    make = benchmarks()[name]
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, _ = memory()
    make()
    return [memory()[1], before]


def check(folder):
    """Losses of the first steps and distances of samples from what tweedie exported."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        name = file.stem
        problem = PROBLEMS[name.rsplit(".", 1)[0]]()
        if name.endswith(".sample"):
            arrays = problem.load(file)
            levels = [tuple(level) for level in arrays["levels"].double().tolist()]
            for ours, theirs in zip(levels, vp_levels()):
                assert all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-5) for a, b in zip(ours, theirs)), (ours, theirs)
            y = ddim(problem.model, problem.batch[0], levels)
            error = (y.flatten() - arrays["y"].flatten()).abs().max() / arrays["y"].abs().max()
            found[f"{name}.relative_error"] = error.item()
        else:
            problem.load(file)
            # Attention by its products, which the counter knows.
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                problem.model(*problem.batch[:2])
            found[f"{name}.flops"] = 3.0 * counter.get_total_flops()
            trainer = Trainer(problem)
            losses = [trainer.step() for _ in range(WARM_UP)]
            found[f"{name}.first_loss"], found[f"{name}.last_warm_up_loss"] = losses[0], losses[-1]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--check", type=Path)
    parser.add_argument("--memory-of")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        assert torch.get_num_threads() == options.threads, "PyTorch takes another number of threads"
    torch.manual_seed(0)
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of)))
        return
    if options.check:
        print(json.dumps(check(options.check)))
        return
    chosen = {name: make for name, make in benchmarks().items() if begins(name, options.names)}
    result = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": options.rounds}
    made = {name: make() for name, make in chosen.items()}
    rates, times = [], {name: [] for name in chosen}
    before = ticks()
    for _ in range(options.rounds):
        rates.append(gemm())
        for name, (work, _) in made.items():
            times[name].append(one_round(work))
    every, idle, own = (now - then for now, then in zip(ticks(), before))
    result["others_cpu"] = max((every - idle - own) / every, 0.0)
    result["gemm.gflops"] = statistics.median(rates)
    for name, values in times.items():
        result[f"{name}.ms"] = statistics.median(values)
        result[f"{name}.min_ms"], result[f"{name}.max_ms"] = min(values), max(values)
        result |= {f"{name}.{key}": value for key, value in made[name][1].items()}
        if name.endswith((".train", ".train-channels-last")) and not options.no_memory:
            arguments = [sys.executable, __file__, "--memory-of", name, "--threads", str(torch.get_num_threads())]
            peak, before = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
            result[f"{name}.peak_memory_mb"], result[f"{name}.step_memory_mb"] = peak, peak - before
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:48} {value:.4g}" if isinstance(value, float) else f"{key:48} {value}")


if __name__ == "__main__":
    main()
