"""`tweedie bench` and bench/speed_peer.py in turn, and the ratios of their medians.

Run with the Python that has PyTorch, after `cargo build --release`:

    python bench/speed.py [NAME]... [--rounds N] [--threads N] [--json]
    python bench/speed.py ops --scaling     # one thread of ours against two, without PyTorch

Each round runs every group of benchmarks on both sides, one process after the other, the other one first in every
second round. First it checks that both sides do the same work: tweedie writes weights and batches, PyTorch starts from
them, and the losses of three training steps, ten-step samples and the numbers of operations must agree. PyTorch runs
eagerly with fused Adam, on as many threads, in the faster of its memory formats; memory is that of the format that
takes less. A ratio is PyTorch's median over ours; it is above 1 where tweedie is faster. `range` holds the ratios of
single rounds.
"""

import argparse
import json
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
GROUPS = ["mlp", "unet.", "unet-attention", "transformer", "ops"]
# The groups of bench/speed_densities.py are slower to measure, and asked for by name.
# Losses and samples of both sides differ by rounding only.
TOLERANCE = 1e-4
LAST = "-channels-last"
# From this share of the processors on other processes disturb.
BUSY = 0.05


def processor():
    try:
        text = Path("/proc/cpuinfo").read_text()
        return re.search(r"model name\s*: (.*)", text)[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


class Sides:
    def __init__(self, options):
        self.under = shlex.split(options.under)
        program = options.program or HERE.parent / "target/release/tweedie"
        self.ours = [str(program), "bench"]
        self.theirs = [sys.executable, str(HERE / "speed_peer.py")]

    def run(self, command):
        done = subprocess.run([*self.under, *command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{shlex.join(command)}: status {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def check(self, names, threads):
        """What both sides computed from the same weights and batches; exits where they differ."""
        with tempfile.TemporaryDirectory() as folder:
            ours = self.run([*self.ours, *names, *threads, "--rounds=1", "--no-memory", f"--export={folder}", "--json"])
            theirs = self.run([*self.theirs, *threads, f"--check={folder}"])
        worst = 0.0
        for key, value in theirs.items():
            error = value if key.endswith("relative_error") else abs(value / ours[key] - 1)
            if not error < TOLERANCE:
                sys.exit(f"{key}: ours {ours.get(key)}, PyTorch's {value}: not the same work")
            worst = max(worst, error)
        return len(theirs), worst


def collect(rounds, key):
    return [round[key] for round in rounds if key in round]


def compare(ours, theirs):
    """A row for each time that both sides have."""
    rows = []
    for key in ours[0]:
        if not key.endswith(".ms") or key not in theirs[0]:
            continue
        name = key[: -len(".ms")]
        a, b = collect(ours, key), collect(theirs, key)
        formats = {"default": b, "channels-last": collect(theirs, f"{name}{LAST}.ms")}
        best = min((kind for kind in formats if formats[kind]), key=lambda kind: statistics.median(formats[kind]))
        row = {"name": name, "ours_ms": statistics.median(a), "torch_ms": statistics.median(formats[best])}
        row["format"], row["ratio"] = best, row["torch_ms"] / row["ours_ms"]
        each = [y / x for x, y in zip(a, formats[best])]
        row["range"] = [min(each), max(each)]
        share = collect(ours, f"{name}.gemm_share")
        if share:
            row["gemm_share"] = statistics.median(share)
        for kind in ("peak", "step"):
            key = f".{kind}_memory_mb"
            measured = [theirs[0][name + last + key] for last in ("", LAST) if name + last + key in theirs[0]]
            if name + key in ours[0] and measured:
                row[f"ours_{kind}_mb"], row[f"torch_{kind}_mb"] = ours[0][name + key], min(measured)
        parameters = [side[0].get(f"{name}.parameters") for side in (ours, theirs)]
        if None not in parameters and parameters[0] != parameters[1]:
            sys.exit(f"{name}: {parameters[0]:.0f} parameters of ours, {parameters[1]:.0f} of PyTorch's")
        rows.append(row)
    return rows


def table(headings, rows, markdown):
    if markdown:
        for line in [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]:
            print("| " + " | ".join(line) + " |")
        return
    widths = [max(len(line[i]) for line in [headings, *rows]) for i in range(len(headings))]
    for line in [headings, *rows]:
        first, rest = line[0].ljust(widths[0]), [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        print("  ".join([first, *rest]).rstrip())


def number(value):
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def warn(others):
    """Two threads that wait for each other suffer more from a busy machine than tasks that wait for nobody."""
    if others[1] > BUSY:
        shares = f"{100 * others[0]:.0f} % of the processors in the median run and {100 * others[1]:.0f} % in the worst"
        print(f"NOT A MEASUREMENT: other processes took {shares}\n")


def print_comparison(result, markdown):
    print(f"{result['machine']}, {result['threads']} threads, torch {result['torch']}, {result['rounds']} rounds")
    print(f"matrix products, GFLOP/s: ours {result['gemm_gflops']:.0f}, PyTorch's {result['torch_gemm_gflops']:.0f}")
    print(f"{result['checked']} losses, samples and counts of operations agree to {result['worst_error']:.1e}\n")
    warn(result["others_cpu"])
    headings = ["", "ours ms", "PyTorch ms", "format", "ratio", "range", "of GEMM"]
    lines = []
    for row in result["rows"]:
        low, high = row["range"]
        share = f"{100 * row['gemm_share']:.0f} %" if "gemm_share" in row else ""
        times = [number(row["ours_ms"]), number(row["torch_ms"]), row["format"]]
        ratios = [f"{row['ratio']:.2f}", f"{low:.2f}–{high:.2f}"]
        lines.append([row["name"], *times, *ratios, share])
    table(headings, lines, markdown)
    kinds = [f"{side}_{kind}_mb" for kind in ("step", "peak") for side in ("ours", "torch")]
    lines = [[row["name"], *(f"{row[kind]:.0f}" for kind in kinds)] for row in result["rows"] if kinds[0] in row]
    if lines:
        print("\nMemory of three training steps in MB: the network's, and the whole process's\n")
        table(["", "ours", "PyTorch", "ours, whole", "PyTorch, whole"], lines, markdown)
    if result["extras"]:
        print("\nPyTorch alone, for information\n")
        table(["", "ms"], [[name, number(ms)] for name, ms in result["extras"].items()], markdown)


def measure(options, sides):
    groups = options.names or GROUPS
    threads = [f"--threads={options.threads}"] if options.threads else []
    checked, worst = sides.check(groups, threads)
    ours, theirs, rates, others = [], [], {"ours": [], "theirs": []}, []
    for k in range(options.rounds):
        found = {"ours": {}, "theirs": {}}
        for group in groups:
            more = ["--rounds=1", "--json", *threads, *([] if k == 0 else ["--no-memory"])]
            turns = [("ours", sides.ours), ("theirs", sides.theirs)]
            for side, command in turns if k % 2 == 0 else turns[::-1]:
                print(f"round {k + 1}: {side} {group}", file=sys.stderr)
                result = sides.run([*command, group, *more])
                rates[side].append(result["gemm.gflops"])
                others.append(result.get("others_cpu", 0.0))
                found[side] |= result
        ours.append(found["ours"])
        theirs.append(found["theirs"])
    counts = {result["threads"] for result in [*ours, *theirs]}
    if len(counts) > 1:
        sys.exit(f"both sides must run on as many threads, not on {' and '.join(map(str, sorted(counts)))}")
    rows = compare(ours, theirs)
    extra = lambda key: key.endswith(".ms") and key not in ours[0] and not key.endswith(f"{LAST}.ms")
    return {
        "machine": processor(),
        "threads": ours[0]["threads"],
        "torch": theirs[0]["torch"],
        "rounds": options.rounds,
        "gemm_gflops": statistics.median(rates["ours"]),
        "torch_gemm_gflops": statistics.median(rates["theirs"]),
        "others_cpu": [statistics.median(others), max(others)],
        "checked": checked,
        "worst_error": worst,
        "rows": rows,
        "extras": {key[: -len(".ms")]: statistics.median(collect(theirs, key)) for key in filter(extra, theirs[0])},
    }


def scaling(options, sides):
    """How many times as fast each benchmark is on two threads as on one."""
    runs, others = {1: [], 2: []}, []
    for k in range(options.rounds):
        for threads in (1, 2) if k % 2 == 0 else (2, 1):
            print(f"round {k + 1}: {threads} threads", file=sys.stderr)
            command = [*sides.ours, *options.names, f"--threads={threads}", "--rounds=1", "--json", "--no-memory"]
            result = sides.run(command)
            runs[threads].append(result)
            others.append(result.get("others_cpu", 0.0))
    rows = []
    for key in [key for key in runs[1][0] if key.endswith(".ms")]:
        one, two = (statistics.median(collect(runs[threads], key)) for threads in (1, 2))
        rows.append({"name": key[: -len(".ms")], "one_ms": one, "two_ms": two, "speed_up": one / two})
    others = [statistics.median(others), max(others)]
    return {"machine": processor(), "rounds": options.rounds, "others_cpu": others, "rows": rows}


def print_scaling(result, markdown):
    print(f"{result['machine']}, {result['rounds']} rounds\n")
    warn(result["others_cpu"])
    lines = [[r["name"], number(r["one_ms"]), number(r["two_ms"]), f"{r['speed_up']:.2f}"] for r in result["rows"]]
    table(["", "1 thread ms", "2 threads ms", "speed-up"], lines, markdown)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/performance.md")
    parser.add_argument("--program", type=Path, help="the program; target/release/tweedie by default")
    parser.add_argument("--under", default="", help="a command to run every process by, such as 'nice -n -5'")
    options = parser.parse_args()
    sides = Sides(options)
    result = scaling(options, sides) if options.scaling else measure(options, sides)
    if options.json:
        print(json.dumps(result))
    elif options.scaling:
        print_scaling(result, options.markdown)
    else:
        print_comparison(result, options.markdown)


if __name__ == "__main__":
    main()
