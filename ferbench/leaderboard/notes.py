"""The notes below a table: facts that a reader needs and cannot see in it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ferbench.contract.protocol import Headline
from ferbench.leaderboard.differences import FEWEST, Standing
from ferbench.leaderboard.statistics import spread
from ferbench.records.frame import rows_of
from ferbench.records.metrics import BY_KEY
from ferbench.records.rows import BASELINES, PROBE, TITLES

FULL_SUPERVISION = "full supervision"

Rows = dict[str, pd.DataFrame]
"""The rows of a table by name, each with its cells."""


def missing_rows(supervised: Rows, init: str, full: Rows | None) -> tuple[str, ...]:
    """Titles of missing mandatory rows; `full` are the rows with all labels, None if the table itself has all."""
    mandatory = BASELINES if init == "scratch" else (*BASELINES, PROBE)
    missing = tuple(TITLES.get(name, name) for name in mandatory if name not in supervised)
    return missing if full is None or any(name in full for name in BASELINES) else (*missing, FULL_SUPERVISION)


def not_standard(cell: Mapping[str, Any]) -> str:
    """Why a cell is not standard; without the column `not_standard` of a frame, only drafts and overrides are known."""
    if reason := cell.get("not_standard"):
        return str(reason)
    if cell["draft"]:
        return "the protocol is a draft"
    return f"overrides {cell['overrides']}" if cell["overrides"] else "the record does not say why"


def standard_notes(standard: bool, rows: Rows) -> Iterator[str]:
    """Why the rows of a table are not standard: each reason with its rows."""
    found: dict[str, dict[str, None]] = {}
    for cells in () if standard else rows.values():
        for cell in rows_of(cells):
            found.setdefault(not_standard(cell), {})[cell["title"]] = None
    for reason, titles in found.items():
        yield f"Not standard: {', '.join(titles)} ({reason})."


def baseline_notes(supervised: Rows, baseline: str | None, has_pool: bool, init: str) -> Iterator[str]:
    """Which row the gains are relative to, and which mandatory rows are missing."""
    missing = missing_rows(supervised, init, None)
    where = ", from the table without a pool" if has_pool else ""
    if missing:
        gain = f"gains are over {TITLES[baseline]} only{where}" if baseline else "no gains can be given"
        yield f"Missing mandatory row{'s' if len(missing) > 1 else ''}: {' and '.join(missing)}; {gain}."
    elif baseline:
        yield f"Gains are over {TITLES[baseline]}, the better supervised row{where}."


def ceiling_notes(full: Rows, headline: Headline) -> Iterator[str]:
    """The score with all labels, which is the ceiling of every budget."""
    rows = {name: cells for name, cells in full.items() if name in BASELINES}
    most = max(map(len, rows.values()), default=0)
    means = {name: spread(cells[headline].tolist()) for name, cells in rows.items() if len(cells) == most}
    if not means:
        yield f"Missing mandatory row: {FULL_SUPERVISION} (budget ratio-1)."
        return
    best = max(means, key=lambda name: means[name].mean)
    yield (
        f"Full supervision: {100 * means[best].mean:.1f} % {BY_KEY[headline].title} "
        f"({TITLES[best]}, all labels, {most} seed{'' if most == 1 else 's'})."
    )


def difference_notes(found: Standing, titles: Mapping[str, str], headline: Headline) -> Iterator[str]:
    """How small a difference the comparisons can detect, and which intervals lack the variance of test images."""
    if found.smallest_difference is not None:
        yield (
            f"A single comparison detects a true difference of {100 * found.smallest_difference:.1f} points of "
            f"{BY_KEY[headline].title} with a power of 80 % (median over the comparisons of this table). An interval "
            "that contains zero does not show that there is no difference."
        )
    if len(titles) > 1 and found.ties is None:
        yield f"Ties are not tested: this needs at least {FEWEST} seeds."
    if found.without_images:
        names = ", ".join(titles[name] for name in found.without_images)
        yield (
            f"Some records of {names} have no predictions file: intervals with these rows cover the variance of seeds "
            "only, for these test images."
        )


def label_notes(cells: pd.DataFrame) -> Iterator[str]:
    """Whether the protocol holds out labels for validation, or makes some labels wrong."""
    terms = json.loads(cells["label_terms"].dropna().iloc[0]) if cells["label_terms"].notna().any() else {}
    if validation := terms.get("validation"):
        yield f"{100 * validation['share']:g} % of the labels of each class are held out as a validation set."
    noise = terms.get("label_noise", {})
    if "rate" in noise:
        yield f"Training labels are wrong with probability {noise['rate']:g}; test labels are unchanged."
    elif noise:
        wrong = {name: 1 - row.get(name, 0.0) for name, row in noise["confusion"].items()}
        shown = ", ".join(f"{name} {100 * rate:.0f} %" for name, rate in wrong.items())
        yield (
            f"Training labels are wrong with the probabilities of a confusion table ({shown}); test labels are "
            "unchanged."
        )


def smoothing_notes(test_on: str | None, cells: pd.DataFrame) -> Iterator[str]:
    """The number of frames over which the protocol averages predictions; never for another test set."""
    window = json.loads(cells["config"].iloc[0])["protocol"].get("temporal_window")
    if isinstance(window, int) and test_on is None:
        yield f"Predictions are means over {window} frames of a video; the protocol does this for all rows."


def fold_notes(folds: int | None) -> Iterator[str]:
    """The meaning of seeds if each of them tests one fold."""
    if folds:
        yield (
            f"Seed k tests fold k of {folds} folds of subjects, so that every subject is tested once. Folds share most "
            "of their training images, so intervals over folds are narrower than intervals over new subjects would be. "
            "The recall of a class is over the folds that have images of it."
        )


def cross_notes(test_on: str | None, cells: pd.DataFrame) -> Iterator[str]:
    """How to read a table whose models were trained on another dataset."""
    if test_on is None:
        return
    yield (
        f"The test images are those of {test_on} whose class was trained; logits of other classes are ignored. Image "
        "passes are those of the training; its time and its results on its own test images are in another table."
    )
    if left_out := cells["n_test_left_out"].fillna(0).max():
        yield f"Test images left out because they look like training images: {left_out}."


def row_notes(rows: Rows, most: int, headline: Headline) -> Iterator[str]:
    """Incomplete rows, and rows whose seeds ran different code or settings."""
    for cells in rows.values():
        title = cells["title"].iloc[0]
        if len(cells) < most:
            scores = cells.sort_values("seed")[["seed", headline]].itertuples(index=False)
            seeds = ", ".join(f"seed {seed}: {100 * score:.1f} %" for seed, score in scores)
            yield f"{title} is incomplete, {len(cells)} of {most} seeds ({seeds})."
        if cells["plugin_source_hash"].nunique() > 1:
            yield f"{title}: its seeds ran different versions of the method's code."
        if cells["config"].nunique() > 1:
            yield f"{title}: its seeds ran different configurations."


def tuning_notes(rows: Rows) -> Iterator[str]:
    """How many tuning trials the plugins declare for the options of their methods."""
    trials = {cells["title"].iloc[0]: cells["tuning_trials"].dropna() for cells in rows.values()}
    declared = [f"{title} {'/'.join(map(str, sorted(set(n))))}" for title, n in trials.items() if len(n)]
    if declared:
        yield f"Trials spent on tuning options, as declared by the plugins: {', '.join(sorted(declared))}."


def code_notes(rows: Rows) -> Iterator[str]:
    """The code of each row's method: its distribution, version and the first digits of the hash over its files."""
    engines = {str(number) for cells in rows.values() for number in cells["engine_version"]}
    made: dict[str, list[str]] = {}
    for cells in rows.values():
        stamps = (
            cells["plugin_distribution"] + " " + cells["plugin_version"] + " " + cells["plugin_source_hash"].str[:8]
        )
        for stamp in sorted(set(stamps)):
            made.setdefault(stamp, []).append(cells["title"].iloc[0])
    shown = "; ".join(f"{stamp} ({', '.join(titles)})" for stamp, titles in sorted(made.items()))
    yield f"Made by engine {'/'.join(sorted(engines))} and the code {shown}."


def cell_notes(cells: pd.DataFrame) -> Iterator[str]:
    """Seeds whose labeled images differ between rows, and the devices on which times were measured."""
    labeled = cells.groupby("seed")["fingerprint_labeled"].nunique()
    for seed in labeled.index[labeled > 1]:
        yield f"The labeled images of seed {seed} differ between rows; gains do not include such pairs."
    trained = cells[cells["test_on"].isna()]
    if devices := sorted({device or "unknown" for device in trained["device"]}):
        apart = "; minutes of different devices cannot be compared" if len(devices) > 1 else ""
        yield f"Minutes were measured on {', '.join(devices)}{apart}."
