"""Shapes and trends of two small tables by SDMetrics.

Run with `pip install sdmetrics`:

    python bench/tables_peer.py

It writes crates/tweedie/tests/fixtures/tables.json: the tables as text, with missing numbers, dates, a constant, texts
and labels, and the scores of SDMetrics' quality report, of each column, each pair and in the mean. A unit test of
`tweedie::metric` reads that file.
"""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import sdmetrics
from sdmetrics.reports.single_table import QualityReport

TARGET = Path(__file__).parents[1] / "crates/tweedie/tests/fixtures/tables.json"
random = np.random.default_rng(20261129)


def table(rows, shift):
    x = random.normal(shift, 1.0, rows).round(3)
    y = (0.9 * x + random.normal(0, 0.8, rows)).round(2)
    count = random.poisson(3 + shift, rows)
    income = pd.Series((1000 * np.exp(random.normal(0, 1, rows))).round(2))
    income[random.random(rows) < 0.1] = np.nan
    income[: rows // 2] = (800 + 400 * x[: rows // 2]).round(2)
    day = pd.to_datetime("2023-01-01") + pd.to_timedelta(random.integers(0, 400, rows), unit="D")
    colour = random.choice(["red", "green", "blue"], rows, p=[0.5, 0.3 - shift, 0.2 + shift])
    colour[income.isna()] = "grey"
    kind = np.where(x + random.normal(0, 0.5, rows) > 0, "yes", "no")
    day = day.strftime("%Y-%m-%d")
    columns = dict(x=x, y=y, count=count, income=income, day=day, version=7, colour=colour, kind=kind)
    return pd.DataFrame(columns).to_csv(index=False)


def read(text):
    return pd.read_csv(io.StringIO(text))


def main():
    texts = table(150, 0.0), table(220, 0.15)
    kinds = dict.fromkeys(["x", "y", "count", "income", "version"], {"sdtype": "numerical"})
    kinds |= {"day": {"sdtype": "datetime", "datetime_format": "%Y-%m-%d"}}
    kinds |= dict.fromkeys(["colour", "kind"], {"sdtype": "categorical"})
    report = QualityReport()
    report.generate(read(texts[0]), read(texts[1]), {"columns": kinds}, verbose=False)
    shapes = report.get_details("Column Shapes")
    trends = report.get_details("Column Pair Trends")
    scores = report.get_properties().set_index("Property")["Score"]
    found = {
        "made_by": f"bench/tables_peer.py with sdmetrics {sdmetrics.__version__}",
        "real": texts[0],
        "synthetic": texts[1],
        "label": "kind",
        "shapes": scores["Column Shapes"],
        "trends": scores["Column Pair Trends"],
        "shape_of": dict(zip(shapes["Column"], shapes["Score"])),
        "trend_of": [
            [a, b, None if np.isnan(score) else score]
            for a, b, score in zip(trends["Column 1"], trends["Column 2"], trends["Score"])
        ],
    }
    TARGET.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
