"""The numbers of a record as rows of text; nothing here is escaped, that is the template's work."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ferbench.contract.events import EpochRow
from ferbench.records.cell import Cell
from ferbench.records.dotted import flat
from ferbench.records.metrics import Metric, shown_in
from ferbench.records.schema import Measured, PluginStamp, Record, Result
from ferbench.render.numbers import NONE, grouped, percent, sentence_case
from ferbench.reporting.history import last_values


@dataclass(frozen=True)
class Field:
    """One line of a table of fields; `changed` marks an override."""

    name: str
    value: str
    changed: bool = False


@dataclass(frozen=True)
class Number:
    """One of the large numbers at the top."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class ClassRow:
    """One line of the per-class table; `color` is the class's place in the palette."""

    name: str
    color: int
    labeled: str
    test: str
    recall: str
    precision: str
    f1: str
    mask_rate: str
    pseudo_label_precision: str


def headline(result: Result, first: str) -> list[Number]:
    """The metrics of the selected model, that of the protocol first."""
    values = result.scores()
    numbers = {
        metric.key: Number(sentence_case(metric.title), metric.text(values[metric.key]), _note(metric))
        for metric in shown_in("report")
    }
    return [numbers.pop(first), *numbers.values()]


def _note(metric: Metric) -> str:
    return f"{metric.note}, less is better" if metric.lower_is_better else metric.note


def usable_confusion(result: Result) -> list[list[int]] | None:
    """The confusion matrix, if it is one of the record's classes."""
    return result.confusion if result.outcome() else None


def class_rows(result: Result, confusion: Sequence[Sequence[int]], rows: Sequence[EpochRow]) -> list[ClassRow]:
    """Counts and scores of each class, with what its pseudo-labels were like in the last epoch."""
    n = len(result.class_names)
    masks = last_values([row.mask_rate_per_class for row in rows], n) or [None] * n
    precisions = last_values([row.pseudo_label_precision_per_class for row in rows], n) or [None] * n
    predicted = [sum(row[i] for row in confusion) for i in range(n)]
    found = []
    for i, name in enumerate(result.class_names):
        hits, true = confusion[i][i], sum(confusion[i])
        found.append(
            ClassRow(
                name=name,
                color=i,
                labeled=_count(result.labeled_counts.get(name)),
                test=_count(true),
                recall=_share(hits, true),
                precision=_share(hits, predicted[i]),
                f1=_share(2 * hits, true + predicted[i]),
                mask_rate=percent(masks[i]),
                pseudo_label_precision=percent(precisions[i]),
            )
        )
    return found


def cell_fields(cell: Cell) -> list[Field]:
    """What was asked for."""
    values = cell.model_dump(mode="json", exclude={"overrides", "budget"})
    return [Field("budget", cell.budget.title()), *fields(values)]


def config_fields(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Field]:
    """Every field of a configuration, `weak.padding` for one within another, overrides marked."""
    return [Field(name, text(value), name in overrides) for name, value in flat(config)]


def fields(values: Mapping[str, Any]) -> list[Field]:
    """Names and values as they are."""
    return [Field(name, text(value)) for name, value in values.items()]


def measured_fields(measured: Measured, result: Result | None) -> list[Field]:
    """Time, throughput and memory, in units for people."""
    found = [Field("device", measured.device or NONE), Field("threads", str(measured.threads or NONE))]
    if measured.host:
        found.append(Field("host", measured.host))
    found += [
        Field("started", measured.started_at),
        Field("finished", measured.finished_at or NONE),
        Field("time", _duration(measured.wall_seconds)),
        Field("of it in training steps", _duration(measured.train_seconds)),
        Field("processor time", _duration(measured.cpu_seconds)),
        Field("images per second", grouped(measured.images_per_second)),
        Field("peak memory", f"{measured.peak_memory_bytes / 2**20:,.0f} MiB".replace(",", "\u2009")),
        Field("resumed", f"{measured.resumed} times" if measured.resumed != 1 else "once"),
    ]
    if result is not None:
        found += [
            Field("optimizer steps", grouped(result.steps)),
            Field("image passes in training", grouped(result.image_passes)),
            Field("parameters of the net", grouped(result.parameters)),
        ]
    return found


def stamp_fields(record: Record) -> list[Field]:
    """Which code ran, by role."""
    stamps: dict[str, PluginStamp] = {"method": record.plugin, **record.plugins}
    found = [
        Field(role, f"{stamp.distribution} {stamp.version}, source {stamp.source_hash[:16]}")
        for role, stamp in stamps.items()
    ]
    if record.git is not None:
        found.append(Field("git commit", f"{record.git.commit}{' with changes' if record.git.dirty else ''}"))
    return [Field("engine version", str(record.engine_version)), *found]


def text(value: Any) -> str:
    """A JSON value as it would be typed after `--set`; a dash for nothing."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _count(value: int | None) -> str:
    return NONE if value is None else grouped(value)


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else NONE


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
