"""Synthetic tables of several programs on one split: ten figures by SDMetrics, SciPy and scikit-learn.

Run with `pip install sdv` (which brings ctgan, sdmetrics and scikit-learn):

    python bench/tables.py split magic.dat --folder magic          # writes magic/train.csv and magic/test.csv
    python bench/tables.py fit magic copula tvae ctgan             # writes magic/copula.csv, …, as long as train.csv
    tweedie train table --data magic/train.csv --label label --out magic/run
    tweedie sample magic/run -n 15216 -o magic/tweedie.csv
    python bench/tables.py judge magic tweedie tvae ctgan copula   # prints a table, and writes magic/figures.json

On few processors OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 keeps `fit` from waiting for its own threads.

A table has a header, or columns x1, x2, … and `label`, the last one. Programs see train.csv alone; figures compare with
test.csv, and rows of train.csv in place of synthetic ones give the floor. A figure is better the higher it is, except
for distances and for the accuracies of tests that tell synthetic from real rows: these are best at the floor, 0.5.

1. shapes: column shapes of SDMetrics' quality report.
2. trends: column pair trends of the same.
3. sliced W2: over 256 directions, columns standardised by train.csv, categories one-hot.
4. energy: energy distance in the same units, of 4,000 rows at most.
5. 1-NN: leave-one-out accuracy of the nearest neighbour among as many synthetic and test rows.
6. detection: accuracy of boosted trees that tell synthetic from test rows, by cross-validation.
7. forest: accuracy on test.csv of a random forest that learnt the label from synthetic rows (R² of the last column of
   numbers where there is no label).
8. boosting: the same of boosted trees.
9. linear: the same of a linear model.
10. copies: the share of synthetic rows nearer to train.csv than to test.csv, of as many rows of each; 0.5 is fresh.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 20261129
# For each figure: how far a value is from its best, given the floor.
FIGURES = {
    "shapes": lambda value, floor: 1 - value,
    "trends": lambda value, floor: 1 - value,
    "sliced W2": lambda value, floor: value,
    "energy": lambda value, floor: value,
    "1-NN": lambda value, floor: abs(value - 0.5),
    "detection": lambda value, floor: abs(value - 0.5),
    "forest": lambda value, floor: -value,
    "boosting": lambda value, floor: -value,
    "linear": lambda value, floor: -value,
    "copies": lambda value, floor: max(value - 0.5, 0.0),
}


def read(path, label=None):
    """A table; without a header its columns are x1, x2, … and `label`."""
    kinds = {} if label is None else {label: str}
    table = pd.read_csv(path, dtype=kinds, skipinitialspace=True)
    if all(str(name).replace(".", "").replace("-", "").replace("e", "").isdigit() for name in table.columns[:1]):
        table = pd.read_csv(path, header=None, skipinitialspace=True)
        table.columns = [f"x{j + 1}" for j in range(table.shape[1] - 1)] + ["label"]
    return table


def split(arguments):
    from sklearn.model_selection import train_test_split

    table = read(arguments.table)
    strata = table["label"] if "label" in table else None
    train, test = train_test_split(table, test_size=0.2, random_state=SEED, stratify=strata)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train.to_csv(arguments.folder / "train.csv", index=False)
    test.to_csv(arguments.folder / "test.csv", index=False)
    print(f"{len(train)} training and {len(test)} test rows")


def fit(arguments):
    import torch
    from sdv.metadata import Metadata
    from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer, TVAESynthesizer

    label = arguments.label
    train = read(arguments.folder / "train.csv", label)
    kind = lambda c: "categorical" if c == label or not pd.api.types.is_numeric_dtype(train[c]) else "numerical"
    columns = {column: {"sdtype": kind(column)} for column in train}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
    kinds = {"copula": GaussianCopulaSynthesizer, "tvae": TVAESynthesizer, "ctgan": CTGANSynthesizer}
    for name in arguments.programs:
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        more = {} if name == "copula" else {"epochs": arguments.epochs}
        began = time.time()
        synthesizer = kinds[name](metadata, **more)
        synthesizer.fit({"table": train})
        synthesizer.sample(len(train))["table"].to_csv(arguments.folder / f"{name}.csv", index=False)
        print(f"{name}: {time.time() - began:.0f} s")


class Space:
    """Columns standardised by training rows, categories and the label one-hot."""

    def __init__(self, train, label):
        self.numbers = [c for c in train if c != label and pd.api.types.is_numeric_dtype(train[c])]
        self.names = {c: sorted(train[c].astype(str).unique()) for c in train if c not in self.numbers}
        self.mean, self.scale = train[self.numbers].mean(), train[self.numbers].std().replace(0, 1)

    def __call__(self, table, without=None):
        numbers = ((table[self.numbers] - self.mean) / self.scale).fillna(0.0).to_numpy(float)
        one_hot = lambda c, names: (table[c].astype(str).to_numpy()[:, None] == np.array(names)).astype(float)
        return np.hstack([numbers, *[one_hot(c, names) for c, names in self.names.items() if c != without]])


def sliced(x, y, random):
    directions = random.normal(size=(x.shape[1], 256))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(2000) + 0.5) / 2000
    of = lambda rows: np.quantile(rows @ directions, levels, axis=0)
    return np.sqrt(((of(x) - of(y)) ** 2).mean())


def energy(x, y):
    from scipy.spatial.distance import cdist, pdist

    within = lambda rows: pdist(rows).mean()
    return np.sqrt(max(2 * cdist(x, y).mean() - within(x) - within(y), 0.0))


def some(table, n):
    return table.iloc[np.random.default_rng(SEED).permutation(len(table))[:n]]


def copies(x, train, test, space):
    from sklearn.neighbors import NearestNeighbors

    n = min(len(train), len(test))
    near = lambda table: NearestNeighbors(n_neighbors=1).fit(space(some(table, n))).kneighbors(x)[0][:, 0]
    to_train, to_test = near(train), near(test)
    return (to_train < to_test).mean() + 0.5 * (to_train == to_test).mean()


def figures(fake, train, test, label, space):
    from sdmetrics.reports.single_table import QualityReport
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import NearestNeighbors

    random = np.random.default_rng(SEED)
    kinds = {c: {"sdtype": "numerical" if c in space.numbers else "categorical"} for c in test}
    report = QualityReport()
    report.generate(test, fake, {"columns": kinds}, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    found = {"shapes": scores["Column Shapes"], "trends": scores["Column Pair Trends"]}

    x, y = space(fake), space(test)
    found["sliced W2"] = sliced(x, y, random)
    n = min(4000, len(fake), len(test))
    a, b = space(some(fake, n)), space(some(test, n))
    found["energy"] = energy(a, b)
    both, kind = np.vstack([a, b]), np.repeat([0, 1], n)
    nearest = NearestNeighbors(n_neighbors=2).fit(both).kneighbors(both, return_distance=False)[:, 1]
    found["1-NN"] = (kind[nearest] == kind).mean()
    boosted = HistGradientBoostingClassifier(random_state=SEED)
    found["detection"] = cross_val_score(boosted, both, kind, cv=5).mean()

    target = label or space.numbers[-1]
    if label:
        models = (
            RandomForestClassifier(200, random_state=SEED, n_jobs=-1),
            HistGradientBoostingClassifier(random_state=SEED),
            LogisticRegression(max_iter=2000),
        )
    else:
        models = (
            RandomForestRegressor(200, random_state=SEED, n_jobs=-1),
            HistGradientBoostingRegressor(random_state=SEED),
            LinearRegression(),
        )
    hidden = [space.numbers.index(target)] if target in space.numbers else []
    inputs = lambda table: np.delete(space(table, without=target), hidden, axis=1)
    of = lambda table: table[target].astype(str) if label else table[target]
    for name, model in zip(("forest", "boosting", "linear"), models):
        # Of synthetic rows of one class, that class is all there is to learn.
        only = of(fake).iloc[0] if label and of(fake).nunique() == 1 else None
        learnt = lambda: model.fit(inputs(fake), of(fake)).score(inputs(test), of(test))
        found[name] = learnt() if only is None else (of(test) == only).mean()

    found["copies"] = copies(x, train, test, space)
    return {name: float(value) for name, value in found.items()}


def judge(arguments):
    label = arguments.label
    train, test = (read(arguments.folder / f"{part}.csv", label) for part in ("train", "test"))
    label = label if label in train else None
    space = Space(train, label)
    found = {}
    # The floor: training rows in place of synthetic ones; half of them are no copies of the other half.
    found["real"] = figures(train, train, test, label, space)
    half = np.random.default_rng(SEED).permutation(len(train))
    fresh, rest = train.iloc[half[: len(half) // 2]], train.iloc[half[len(half) // 2 :]]
    found["real"]["copies"] = copies(space(fresh), rest, test, space)
    for name in arguments.programs:
        fake = read(arguments.folder / f"{name}.csv", label)[list(train)]
        found[name] = figures(fake, train, test, label, space)
    (arguments.folder / "figures.json").write_text(json.dumps(found, indent=1))
    names = list(found)
    print("| figure | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    first = names[1]
    better = dict.fromkeys(names[2:], 0)
    for figure, loss in FIGURES.items():
        values = [found[name][figure] for name in names]
        print(f"| {figure} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        own = loss(found[first][figure], found["real"][figure])
        for name in better:
            better[name] += own < loss(found[name][figure], found["real"][figure])
    for name, count in better.items():
        print(f"\n{first} is better than {name} on {count} of {len(FIGURES)}.")


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("split")
    command.add_argument("table")
    command.add_argument("--folder", type=Path, required=True)
    command.set_defaults(run=split)
    for name, run in (("fit", fit), ("judge", judge)):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("programs", nargs="+")
        command.add_argument("--label", default="label")
        command.set_defaults(run=run)
        if run is fit:
            command.add_argument("--epochs", type=int, default=300)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
