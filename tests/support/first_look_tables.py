"""The first look at the baselines: `python -m tests.support.first_look_tables RUNS` writes its results from runs."""

import json
import sys
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import ferbench
from ferbench.leaderboard.statistics import paired

FOLDER = Path(__file__).parents[2] / "plugins" / "ferbench-ssl-baselines" / "first-look"
LABELS_ALONE = ["supervised@weak", "supervised@strong"]
WAYS: Mapping[str, str] = {
    "as above": "from-scratch",
    "from `synthfaces-id`": "informed",
    "7,200 steps": "longer",
    "one change": "causes",
}
"""Titles and suites of the experiments with the methods that stay below labels alone."""
ALONE = {"informed": "from-identities", "causes": "from-scratch"}
"""The suites whose rows of labels alone belong to suites without any."""


def collect(runs: Path) -> pd.DataFrame:
    """Every cell of the suites: accuracy, share of the pool used in the last epoch, and how much of it was right."""
    cells = ferbench.load(runs).to_dict("records")
    return pd.DataFrame(map(_cell, cells)).sort_values(["suite", "row", "seed"])


def _cell(cell: dict[Hashable, Any]) -> dict[str, Any]:
    history = json.loads((Path(cell["path"]).parent / "history.json").read_text("utf-8"))
    last = next((row for row in reversed(history) if row.get("mask_rate") is not None), {})
    return {
        "suite": _suite(cell),
        "row": cell["row"].partition(" [")[0],
        "seed": cell["seed"],
        "accuracy": cell["accuracy"],
        "used": last.get("mask_rate"),
        "right": last.get("pseudo_label_precision"),
    }


def _suite(cell: dict[Hashable, Any]) -> str:
    if cell["protocol_overrides"]:
        return "longer"
    if cell["init"] == "scratch":
        return "causes" if cell["overrides"] else "from-scratch"
    return "from-identities" if pd.isna(cell["n_unlabeled"]) else "informed"


def first_look(suite: str) -> list[tuple[str, ...]]:
    """A row for each method of a suite, best first; differences are from the better row that learns labels alone."""
    accuracy, used, right = (_percent(suite, name) for name in ("accuracy", "used", "right"))
    means = accuracy.mean(axis="columns").sort_values(ascending=False, kind="stable")
    base = means[LABELS_ALONE].idxmax()
    return [
        (
            f"`{row}`",
            f"{mean:.1f} ± {accuracy.loc[row].std():.1f}",
            *_difference(accuracy.loc[row] - accuracy.loc[base]),
            *("" if values.loc[row].isna().all() else f"{values.loc[row].mean():.0f}" for values in (used, right)),
        )
        for row, mean in means.items()
    ]


def experiments() -> list[tuple[str, ...]]:
    """Accuracy of seed 0 in each way; in brackets the difference from the better row that learns labels alone so."""
    means = _percent("from-scratch", "accuracy").mean(axis="columns")
    below = [row for row in means.index if means[row] < means[LABELS_ALONE].max() and row not in LABELS_ALONE]
    return [(f"`{row}`", *(_beside_labels_alone(row, suite) for suite in WAYS.values())) for row in below]


def _beside_labels_alone(row: str, suite: str) -> str:
    found, alone = (_percent(name, "accuracy")[0] for name in (suite, ALONE.get(suite, suite)))
    return f"{found[row]:.1f} ({found[row] - alone[LABELS_ALONE].max():+.1f})" if row in found else ""


@cache
def _results() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "results.csv")


def _percent(suite: str, name: str) -> pd.DataFrame:
    """One number of every row (index) and seed (columns) of a suite."""
    found = _results()
    return 100 * found[found["suite"] == suite].pivot(index="row", columns="seed", values=name)


def _difference(by_seed: "pd.Series[float]") -> Iterator[str]:
    """The mean difference with its interval, and the smallest true difference that these seeds would show."""
    seen = paired(by_seed.to_list())
    yield f"{seen.mean:+.1f} ({seen.low:+.1f} to {seen.high:+.1f})" if by_seed.any() else ""
    yield f"{seen.smallest:.1f}" if by_seed.any() else ""


if __name__ == "__main__":
    collect(Path(sys.argv[1])).to_csv(FOLDER / "results.csv", index=False, float_format="%.6g")
