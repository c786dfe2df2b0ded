"""The numbers of a record as texts by name, unescaped: the templates escape them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferbench.contract.events import EpochRow
from ferbench.records.metrics import Metric, shown_in
from ferbench.records.schema import Measured, Record, Result
from ferbench.render.numbers import NONE, grouped, percent, sentence_case
from ferbench.reporting.history import last_values


@dataclass(frozen=True)
class Number:
    """One of the large numbers at the top of the page."""

    name: str
    value: str
    note: str


def headline(result: Result, first: str) -> list[Number]:
    """The metrics of the selected model; the protocol's headline (`first`) comes first."""
    values = result.scores()
    numbers = {
        metric.key: Number(sentence_case(metric.title), metric.text(values[metric.key]), _note(metric))
        for metric in shown_in("report")
    }
    return [numbers.pop(first), *numbers.values()]


def _note(metric: Metric) -> str:
    return f"{metric.note}, lower is better" if metric.lower_is_better else metric.note


def class_rows(result: Result, confusion: Sequence[Sequence[int]], history: Sequence[EpochRow]) -> list[dict[str, str]]:
    """Counts and scores of each class by column, with mask rate and precision of its pseudo-labels at the end."""
    names = result.class_names
    masks = last_values([row.mask_rate_per_class for row in history], len(names))
    precisions = last_values([row.pseudo_label_precision_per_class for row in history], len(names))
    rows = []
    for i, name in enumerate(names):
        hits, true, predicted = confusion[i][i], sum(confusion[i]), sum(row[i] for row in confusion)
        labeled = result.labeled_counts.get(name)
        row = {
            "Class": name,
            "Labeled": NONE if labeled is None else grouped(labeled),
            "Test": grouped(true),
            "Recall": _share(hits, true),
            "Precision": _share(hits, predicted),
            "F1": _share(2 * hits, true + predicted),
        }
        if any(mask is not None for mask in masks):
            row |= {"Mask rate": percent(masks[i]), "Pseudo-label precision": percent(precisions[i])}
        rows.append(row)
    return rows


def measured_fields(measured: Measured, result: Result | None) -> dict[str, str]:
    """Time, throughput and memory, with units."""
    found = {
        "device": measured.device or NONE,
        "threads": str(measured.threads or NONE),
        "host": measured.host,
        "started": measured.started_at,
        "finished": measured.finished_at or NONE,
        "time": _duration(measured.wall_seconds),
        "time in training steps": _duration(measured.train_seconds),
        "processor time": _duration(measured.cpu_seconds),
        "images per second": grouped(measured.images_per_second),
        "peak memory": f"{grouped(measured.peak_memory_bytes / 2**20)} MiB",
        "resumed": "once" if measured.resumed == 1 else f"{measured.resumed} times",
    }
    if result is not None:
        found |= {
            "optimizer steps": grouped(result.steps),
            "image passes in training": grouped(result.image_passes),
            "parameters of the net": grouped(result.parameters),
        }
    return {name: value for name, value in found.items() if value}


def stamp_fields(record: Record) -> dict[str, str]:
    """The code that ran, by role."""
    found = {"engine version": str(record.engine_version)}
    for role, stamp in {"method": record.plugin, **record.plugins}.items():
        found[role] = f"{stamp.distribution} {stamp.version}, source {stamp.source_hash[:16]}"
    if record.git is not None:
        found["git commit"] = f"{record.git.commit}{' with changes' if record.git.dirty else ''}"
    return found


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else NONE


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
