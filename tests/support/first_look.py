"""The first look at the baselines: `python -m tests.support.first_look RUNS` writes its results from runs."""

import json
import sys
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import ferbench
from ferbench.leaderboard.statistics import paired

RESULTS = Path(__file__).parents[2] / "plugins" / "ferbench-ssl-baselines" / "first-look" / "results.csv"
LABELS_ALONE = ["supervised@weak", "supervised@strong"]
STEPS, LONGER = 1800, 7200


def collect(runs: Path) -> pd.DataFrame:
    """Accuracy of every cell, the share of the pool that it used at the end, and how much of it was labeled right."""
    return pd.DataFrame(map(_cell, ferbench.load(runs).to_dict("records"))).sort_values(
        ["init", "steps", "row", "seed"]
    )


def _cell(cell: dict[Hashable, Any]) -> dict[str, Any]:
    history = json.loads((Path(cell["path"]).parent / "history.json").read_text("utf-8"))
    last = next((row for row in reversed(history) if row.get("mask_rate") is not None), {})
    return {
        "init": "scratch" if cell["init"] == "scratch" else "synthfaces-id",
        "steps": cell["steps"],
        "row": cell["row"].partition("~")[0],
        "seed": cell["seed"],
        "accuracy": cell["accuracy"],
        "used": last.get("mask_rate"),
        "correct": last.get("pseudo_label_precision"),
    }


def table(init: str) -> list[tuple[str, ...]]:
    """A row for each method with these initial weights, best first; differences are from the better supervised row."""
    accuracy, used, correct = (_percent(init, STEPS, name) for name in ("accuracy", "used", "correct"))
    accuracy = accuracy.dropna()
    means = accuracy.mean(axis="columns").sort_values(ascending=False, kind="stable")
    base = means[LABELS_ALONE].idxmax()
    return [
        (
            f"`{row}`",
            f"{mean:.1f} ± {accuracy.loc[row].std():.1f}",
            *_difference(accuracy.loc[row] - accuracy.loc[base]),
            *(f"{values.loc[row].mean():.0f}" if values.loc[row].any() else "" for values in (used, correct)),
        )
        for row, mean in means.items()
    ]


def experiments() -> list[tuple[str, ...]]:
    """Accuracy of seed 0: as in the first look, from weights that distinguish people, and with more steps; in brackets
    the difference from the better row that learns from labels alone in the same way."""
    ways = [
        _percent(init, steps, "accuracy")[0]
        for init, steps in (("scratch", STEPS), ("synthfaces-id", STEPS), ("scratch", LONGER))
    ]
    rows = [row for row in ways[2].index if row not in LABELS_ALONE]
    shown = [
        [f"{way[row]:.1f} ({way[row] - way[LABELS_ALONE].max():+.1f})" if row in way else "" for way in ways]
        for row in rows
    ]
    return [(f"`{row}`", *values) for row, values in zip(rows, shown, strict=True)]


@cache
def _results() -> pd.DataFrame:
    return pd.read_csv(RESULTS)


def _percent(init: str, steps: int, name: str) -> pd.DataFrame:
    """One number of every row (index) and seed (columns)."""
    found = _results().query("init == @init and steps == @steps")
    return 100 * found.pivot(index="row", columns="seed", values=name)


def _difference(by_seed: "pd.Series[float]") -> Iterator[str]:
    """The mean difference with its interval, and the smallest true difference that these seeds would show."""
    seen = paired(by_seed.to_list())
    yield f"{seen.mean:+.1f} ({seen.low:+.1f} to {seen.high:+.1f})" if any(by_seed) else ""
    yield f"{seen.smallest:.1f}" if any(by_seed) else ""


if __name__ == "__main__":
    collect(Path(sys.argv[1])).to_csv(RESULTS, index=False, float_format="%.6g")
