"""`ferbench compare`: two rows, seed by seed."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.completion import rows
from ferbench.cli.options import json_option, looked_in, runs_folder
from ferbench.cli.output import print_json, warn_left_out
from ferbench.errors import UsageError, suggestion
from ferbench.records.names import DESCRIBED
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    import pandas as pd

    from ferbench.leaderboard.comparison import Comparison
    from ferbench.leaderboard.keys import Key
    from ferbench.leaderboard.notes import Rows
    from ferbench.leaderboard.statistics import Paired
    from ferbench.records.metrics import Metric

LONG = 2000
EXPLANATION = (
    "p: p-value of no difference; Holm-adjusted over the classes for recalls, unadjusted for the other metrics",
    "seen: the true difference that such a test detects with a probability of 80 %",
    "within: the difference is at most this in either direction (two one-sided tests at 5 %)",
)


@click.command()
@click.argument("a", shell_complete=rows)
@click.argument("b", shell_complete=rows)
@runs_folder("Folder that contains the named rows.")
@json_option
def compare(a: str, b: str, runs: Path, as_json: bool) -> None:
    """Compare A with B: differences over the seeds that both have, and how many test images they disagree on.

    A and B are names of rows (`fixmatch`, `supervised@strong`) in the runs folder, or paths of records or folders of
    them. The rows are compared in every table that contains both. Different splits are refused with exit code 2.
    """
    from ferbench.leaderboard.comparison import compare_rows
    from ferbench.leaderboard.wording import heading

    side_a, side_b = _side(a, runs), _side(b, runs)
    found = [
        (heading(key_a), compare_rows(_only_row(side_a[key_a], a), _only_row(side_b[key_b], b)))
        for key_a, key_b in _shared(side_a, side_b, a, b)
    ]
    if as_json:
        print_json([{"table": title, **asdict(comparison)} for title, comparison in found])
        return
    for title, comparison in found:
        _print(title, comparison)


def _side(name: str, runs: Path) -> "dict[Key, Rows]":
    """The cells that an argument names, by table and row."""
    from ferbench.leaderboard.tables import grouped
    from ferbench.records.frame import read_frame

    is_path = os.path.exists(name)  # not pathlib, which raises an error for names that are too long
    root = Path(name) if is_path else runs
    if not root.exists():
        raise UsageError(f"'{name}' is not a file, and there is no runs folder {runs}; name it with --runs")
    cells = read_frame(root, {})
    warn_left_out(cells.attrs["problems"])
    row = name.replace(f"@{DESCRIBED}", "", 1)  # names of rows omit this variant
    cells = cells[cells["status"] == "ok"]
    names = set(cells["row"])
    cells = cells[is_path | (cells["row"] == row)]
    if cells.empty:
        known = f"; it has {', '.join(sorted(names))}{suggestion(name, names)}" if names and not is_path else ""
        raise UsageError(f"no finished record of '{name}' under {looked_in(root)}{known}")
    return grouped(cells)


def _shared(side_a: "dict[Key, Rows]", side_b: "dict[Key, Rows]", a: str, b: str) -> "Sequence[tuple[Key, Key]]":
    shared = [(key, key) for key in sorted(side_a, key=lambda key: key.order()) if key in side_b]
    if shared:
        return shared
    if len(side_a) == len(side_b) == 1:  # the user chose them: equal splits suffice, the rest is listed
        return [(next(iter(side_a)), next(iter(side_b)))]
    raise UsageError(
        f"'{a}' and '{b}' have no table in common; run both with the same protocol, data, labels and backbone"
    )


def _only_row(rows: "Rows", name: str) -> "pd.DataFrame":
    if len(rows) > 1:
        raise UsageError(f"'{name}' holds several rows ({', '.join(sorted(rows))}); name one of them")
    return next(iter(rows.values()))


def _print(title: str, comparison: "Comparison") -> None:
    from ferbench.records.metrics import BY_KEY, shown_in

    recall = BY_KEY["balanced_accuracy"]  # a mean of recalls: the recall of a class is written in the same form
    a, b = plain(comparison.a), plain(comparison.b)
    click.echo(click.style(plain(f"{a} against {b}: {title}", LONG), bold=True))
    rows = []
    for pair in comparison.pairs:
        counts = pair.mcnemar
        tests = (str(counts.only_a), str(counts.only_b), f"{counts.p_value:.3g}") if counts else ("-", "-", "-")
        accuracies = (f"{100 * pair.a:.1f}", f"{100 * pair.b:.1f}", f"{100 * (pair.a - pair.b):+.1f}")
        rows.append((str(pair.seed), *accuracies, *tests))
    print_table(("seed", "A %", "B %", "A - B", "only A right", "only B right", "McNemar p"), rows)
    of_metrics = [
        (metric.title, *_difference(metric, comparison.metrics[metric.key])) for metric in shown_in("compare")
    ]
    of_recalls = [
        (plain(f"recall of {name}"), *_difference(recall, value, comparison.recall_p.get(name)))
        for name, value in comparison.recalls.items()
    ]
    print_table(("difference in", "A - B", "95 % interval", "p", "seen", "within"), of_metrics + of_recalls)
    click.echo(f"A is {a}, B is {b}; differences in points (for metrics that are not percentages, as they are)")
    click.echo(_basis(comparison))
    for line in EXPLANATION:
        click.echo(line)
    if any(pair.mcnemar is None for pair in comparison.pairs):
        click.echo("no McNemar counts if predictions are missing or do not belong to the record")
    for name, numbers in comparison.unpaired.items():
        seeds = ", ".join(map(str, numbers))
        click.echo(plain(f"not compared: seeds {seeds} of {name}, which the other row does not have", LONG))
    if comparison.unequal:
        click.echo("also different, besides the method:")
    for line in comparison.unequal:
        click.echo(f"  {plain(line, LONG)}")
    click.echo()


def _difference(metric: "Metric", value: "Paired | None", adjusted: float | None = None) -> tuple[str, ...]:
    from ferbench.leaderboard.wording import p_text

    if value is None:
        return ("-",) * 5
    mean = metric.number(value.mean, "+")
    if value.low is None or value.high is None or value.smallest is None or value.within is None:
        return mean, "needs two seeds", "-", "-", "-"
    interval = f"{metric.number(value.low, '+')} to {metric.number(value.high, '+')}"
    p = p_text(value.p_unadjusted if adjusted is None else adjusted)
    return mean, interval, p, metric.number(value.smallest), metric.number(value.within)


def _basis(comparison: "Comparison") -> str:
    """Over what the numbers are averaged, and which variance the intervals include."""
    about = comparison.metrics["accuracy"]
    images = " alone"
    if about is not None and about.images is not None:
        images = f" and of the {about.images} shared test images, those of ECE of seeds alone"
    return f"means of {counted(len(comparison.pairs), 'seed')}; intervals and p have the variance of seeds{images}"
