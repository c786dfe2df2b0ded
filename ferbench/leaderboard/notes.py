"""What a reader must know about a table and cannot see in it; stands below it."""

import json
from collections.abc import Iterator, Mapping

import pandas as pd

from ferbench.contract.protocol import Headline
from ferbench.leaderboard.differences import FEWEST, Standing
from ferbench.leaderboard.statistics import spread
from ferbench.records.metrics import BY_KEY
from ferbench.records.rows import BASELINES, PROBE, TITLES

FULL_SUPERVISION = "full supervision"

Rows = dict[str, pd.DataFrame]
"""The rows of a table by name, each with its cells."""


def missing_rows(supervised: Rows, init: str, full: Rows | None) -> tuple[str, ...]:
    """Mandatory rows that nobody ran; `full` are the rows with all labels, None where the table itself has all."""
    mandatory = BASELINES if init == "scratch" else (*BASELINES, PROBE)
    missing = tuple(TITLES.get(name, name) for name in mandatory if name not in supervised)
    return missing if full is None or any(name in full for name in BASELINES) else (*missing, FULL_SUPERVISION)


def baseline_notes(supervised: Rows, baseline: str | None, has_pool: bool, init: str) -> Iterator[str]:
    """What gains are over, and which mandatory rows are missing."""
    missing = missing_rows(supervised, init, None)
    where = ", of the table without a pool" if has_pool else ""
    if missing:
        gain = f"gain is over {TITLES[baseline]} alone{where}" if baseline else "no gain can be given"
        yield f"Missing mandatory row{'s' if len(missing) > 1 else ''}: {' and '.join(missing)}; {gain}."
    elif baseline:
        yield f"Gain is over {TITLES[baseline]}, the better supervised row{where}."


def ceiling_notes(full: Rows, headline: Headline) -> Iterator[str]:
    """What all labels give: the ceiling of every budget."""
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
    """What the differences between complete rows could have seen, and what their intervals lack."""
    if found.smallest_difference is not None:
        yield (
            f"A difference of {100 * found.smallest_difference:.1f} points of {BY_KEY[headline].title} would be seen "
            "with a probability of 80 % by one comparison alone, the median of those here. An interval with zero in it "
            "does not say that there is no difference."
        )
    if len(titles) > 1 and found.ties is None:
        yield f"Below {FEWEST} seeds nothing is said about which rows are tied."
    if found.without_images:
        names = ", ".join(titles[name] for name in found.without_images)
        yield f"No predictions beside the records of {names}: intervals with it are over seeds alone, for these images."


def label_notes(cells: pd.DataFrame) -> Iterator[str]:
    """What is unusual about the labels of a protocol: held out for validation, or wrong in part."""
    terms = json.loads(cells["label_terms"].dropna().iloc[0]) if cells["label_terms"].notna().any() else {}
    if validation := terms.get("validation"):
        yield f"Of the labels of each class {100 * validation['share']:g} % are held out for methods to choose on."
    noise = terms.get("label_noise", {})
    if "rate" in noise:
        yield f"Labels that methods see are wrong with probability {noise['rate']:g}; those of test images are not."
    elif noise:
        wrong = {name: 1 - row.get(name, 0.0) for name, row in noise["confusion"].items()}
        shown = ", ".join(f"{name} {100 * rate:.0f} %" for name, rate in wrong.items())
        yield f"Labels that methods see are wrong by a table of confusions ({shown}); those of test images are not."


def smoothing_notes(test_on: str | None, cells: pd.DataFrame) -> Iterator[str]:
    """Over how many frames predictions are averaged, where the protocol says so; those of another set are not."""
    window = json.loads(cells["config"].iloc[0])["protocol"].get("temporal_window")
    if isinstance(window, int) and test_on is None:
        yield f"Predictions are means over {window} frames of a video, as the protocol has it for all rows."


def fold_notes(folds: int | None) -> Iterator[str]:
    """What seeds are where each tests a fold."""
    if folds:
        yield (
            f"Seed k tests fold k of {folds} folds of subjects, so that every subject is tested once. Folds share most "
            "of their training images: an interval over them is narrower than one over other subjects would be. The "
            "recall of a class is over the folds that have images of it."
        )


def cross_notes(test_on: str | None, cells: pd.DataFrame) -> Iterator[str]:
    """What the numbers of a table are of whose models were trained on another set."""
    if test_on is None:
        return
    yield (
        f"Tested are the images of {test_on} whose class was trained; logits of other classes are left out. Image "
        "passes are those of the training, whose time and own test images stand in another table."
    )
    if left_out := cells["n_test_left_out"].fillna(0).max():
        yield f"Test images left out since they look like training images: {left_out}."


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
    """How many trials the rows' distributions declare for the methods' options."""
    trials = {cells["title"].iloc[0]: cells["tuning_trials"].dropna() for cells in rows.values()}
    declared = [f"{title} {'/'.join(map(str, sorted(set(n))))}" for title, n in trials.items() if len(n)]
    if declared:
        yield f"Trials before the tuned options, as the plugins declare them: {', '.join(sorted(declared))}."


def code_notes(rows: Rows) -> Iterator[str]:
    """Which code made each row: that of its method, by the first digits of the hash over its files."""
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
    """Seeds whose labeled images are not the same in all rows, and what the times were measured on."""
    labeled = cells.groupby("seed")["fingerprint_labeled"].nunique()
    for seed in labeled.index[labeled > 1]:
        yield f"The labeled images of seed {seed} differ between rows; such pairs do not enter a gain."
    trained = cells[cells["test_on"].isna()]
    if devices := sorted({device or "unknown" for device in trained["device"]}):
        yield f"Minutes were measured on {', '.join(devices)}{'; they do not compare' if len(devices) > 1 else ''}."
