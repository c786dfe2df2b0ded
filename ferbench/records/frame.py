"""Records as a pandas frame: a row per cell, every column typed and explained."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pydantic import BaseModel

from ferbench.errors import UsageError, VerificationError
from ferbench.records.cell import Budget, Cell, canonical_json, digest
from ferbench.records.collect import collect
from ferbench.records.metrics import HEADLINES, METRICS, completed, outcome_of, shown_in
from ferbench.records.names import row_changes, row_name, row_title
from ferbench.records.schema import Fingerprints, Measured, Oracle, PluginStamp, Record, Result
from ferbench.records.store import PREDICTIONS, read_predictions
from ferbench.render.escape import LONG, plain
from ferbench.render.numbers import NONE, sentence_case

TIME: Final = "datetime64[us, UTC]"
RECALL = "recall_"
"""Begins the names of the columns that a frame has beside COLUMNS: the recall of each class that was tested."""


@dataclass(frozen=True)
class Column:
    """One column of a frame; every type of pandas that is used knows missing values."""

    name: str
    dtype: str
    description: str
    value: Callable[[Record], Any]


def _fields(
    model: type[BaseModel], dtype: str, names: str, part: Callable[[Record], object], prefix: str = ""
) -> Iterator[Column]:
    """Fields of a part of the record as they are, in the words of the schema; missing where the part is."""
    for name in names.split():
        yield Column(
            prefix + name,
            dtype,
            model.model_fields[name].description or "",
            lambda record, name=name: getattr(part(record), name, None),  # type: ignore[misc]
        )


def _result(record: Record) -> Result | None:
    return record.result


def _oracle(record: Record) -> Oracle | None:
    return record.result.oracle if record.result else None


def _cell(record: Record) -> Cell:
    return record.cell


def _budget(record: Record) -> Budget:
    return record.cell.budget


def _measured(record: Record) -> Measured:
    return record.measured


def _folds(record: Record) -> int | None:
    folds = record.config.protocol.get("folds")
    return folds if isinstance(folds, int) and folds > 0 else None


def _json(value: Callable[[Result], Any]) -> Callable[[Record], str | None]:
    return lambda record: None if record.result is None else canonical_json(value(record.result)).decode()


COLUMNS: tuple[Column, ...] = (
    Column("folder", "string", "where the cell's files belong, below a runs folder", lambda r: str(r.cell.folder())),
    *_fields(Record, "string", "cell_id status", lambda record: record),
    *_fields(Record, "boolean", "standard", lambda record: record),
    Column("error", "string", "why there is no result", lambda r: r.error.line if r.error else None),
    Column("row", "string", "name of the row in a table, with overrides of the method", lambda r: row_name(r.cell)),
    Column("title", "string", "name of the row for people", row_title),
    *_fields(Cell, "string", "protocol dataset classes pool test_on", _cell),
    Column("budget", "string", "the labels as folders name them: ratio-0.05", lambda r: r.cell.budget.label()),
    Column("ratio", "Float64", "share of the training labels", lambda r: r.cell.ratio),
    *_fields(Budget, "Int64", "count per_class", _budget),
    *_fields(Budget, "string", "allocation", _budget),
    *_fields(Cell, "string", "method variant head backbone init precision", _cell),
    *_fields(Cell, "Int64", "seed", _cell),
    Column("overrides", "string", "fields that are not the defaults; empty for none", lambda r: r.cell.changes),
    Column("protocol_overrides", "string", "those of the protocol alone", lambda r: row_changes(r.cell, "protocol")),
    *_fields(Record, "string", "headline selection", lambda record: record),
    *(Column(metric.key, "Float64", metric.description, lambda record: None) for metric in METRICS),
    *_fields(Oracle, "Float64", " ".join(metric.key for metric in HEADLINES), _oracle, "oracle_"),
    *_fields(Oracle, "Int64", "step evaluations", _oracle, "oracle_"),
    *_fields(
        Result,
        "Int64",
        "n_test n_labeled n_relabeled n_unlabeled n_near_duplicates n_test_left_out steps image_passes parameters",
        _result,
    ),
    Column(
        "labels_seen",
        "Int64",
        "images whose label the method saw",
        lambda r: r.result.labels_seen if r.result else None,
    ),
    Column("n_folds", "Int64", "folds of subjects that the protocol has", _folds),
    Column("class_names", "string", "the classes as a JSON list", _json(lambda result: result.class_names)),
    Column("confusion", "string", "the confusion matrix as JSON, a list per class", _json(lambda r: r.confusion)),
    *_fields(
        Fingerprints,
        "string",
        " ".join(Fingerprints.model_fields),
        lambda record: record.result and record.result.fingerprints,
        "fingerprint_",
    ),
    *_fields(Result, "string", "predictions_digest history_digest model_digest", _result),
    Column(
        "config_digest",
        "string",
        "SHA-256 of the whole configuration",
        lambda r: digest(r.config.model_dump(mode="json")),
    ),
    *_fields(PluginStamp, "string", "distribution version source_hash", lambda record: record.plugin, "plugin_"),
    *_fields(Record, "Int64", "engine_version", lambda record: record),
    *_fields(Measured, TIME, "started_at finished_at", _measured),
    *_fields(
        Measured,
        "Float64",
        "wall_seconds cpu_seconds train_seconds data_wait_seconds images_per_second",
        _measured,
    ),
    *_fields(Measured, "Int64", "peak_memory_bytes threads processes resumed", _measured),
    *_fields(Measured, "string", "device executor host", _measured),
    Column("path", "string", "the record.json that the row was read from", lambda record: None),
)


def load(path: str | Path = "runs") -> pd.DataFrame:
    """The records below a folder, or one record.json, as a frame with a row per cell.

    A record that is broken or contradicts itself is left out: a warning names it, and so does
    `frame.attrs["problems"]`, which maps paths to reasons. Raises UsageError where there is no record at all.
    """
    root = Path(path)
    remedy = "name a runs folder or a record.json; `ferbench run` and ferbench.run() write them"
    if not root.exists():
        raise UsageError(f"there is no {root}; {remedy}")
    found = collect(root, {})
    if not found.records and not found.problems:
        raise UsageError(f"there is no record.json below {root}; {remedy}")
    frame = frame_of(found.records.values(), found.records)
    problems = {str(file): plain(reason, LONG) for file, reason in found.problems.items()}
    frame.attrs["problems"] = problems
    if problems:
        lines = "".join(f"\n  {file}: {reason}" for file, reason in problems.items())
        warnings.warn(f"{len(problems)} of the records below {root} are left out:{lines}", stacklevel=2)
    return frame


def frame_of(records: Iterable[Record], paths: Iterable[Path | None] = repeat(None)) -> pd.DataFrame:
    """A row per record, in their order. With its path, a record's missing metrics are computed from its predictions."""
    rows = [row_of(record, path) for record, path in zip(records, paths, strict=False)]
    recalls = dict.fromkeys(name for row in rows for name in row if name.startswith(RECALL))
    types = {column.name: column.dtype for column in COLUMNS} | dict.fromkeys(recalls, "Float64")
    return typed_frame(rows, types)


def row_of(record: Record, path: Path | None = None) -> dict[str, Any]:
    """A record as a row: every column by its name, None where it is missing."""
    row = {column.name: column.value(record) for column in COLUMNS}
    row["path"] = None if path is None else str(path)
    if record.result is not None:
        row |= _scores(record.result, path)
        recalls = record.result.metrics.per_class_recall
        row |= {f"{RECALL}{name}": recalls.get(name) for name in record.result.class_names}
    return row


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as `row_of` gives them."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """A frame with exactly these columns; what a row lacks is missing, whatever the type."""
    return pd.DataFrame({name: _array([row.get(name) for row in rows], dtype) for name, dtype in types.items()})


def _array(values: list[Any], dtype: Any) -> Any:
    if dtype == TIME:  # a time that is none is missing: it is a stranger's string
        return pd.to_datetime(pd.Series(values, dtype="string"), format="ISO8601", utc=True, errors="coerce").astype(
            TIME
        )
    return pd.array(values, dtype=dtype)


def _scores(result: Result, path: Path | None) -> dict[str, float | None]:
    scores = result.scores()
    if path is None or None not in scores.values():
        return scores
    try:
        predictions = read_predictions(path.parent / PREDICTIONS)
        outcome = outcome_of(predictions.logits, predictions.labels, len(result.class_names))
    except (VerificationError, ValueError):
        return scores
    return completed(result.metrics, outcome) if predictions.digest() == result.predictions_digest else scores


class Records(list[Record]):
    """A list of records that a notebook shows as a table."""

    def frame(self) -> pd.DataFrame:
        """The records as `ferbench.load` gives them."""
        return frame_of(self)

    def _repr_html_(self) -> str:
        words = {"title": "Method", "dataset": "Dataset", "budget": "Labels", "backbone": "Backbone", "seed": "Seed"}
        metrics = {metric.key: metric for metric in shown_in("tables")}
        frame = self.frame()
        names = [*words, "status", *metrics, *(["error"] if frame["error"].notna().any() else [])]
        shown = frame[names].astype(object)
        for name in names:
            text = metrics[name].text if name in metrics else lambda value: plain(str(value))
            shown[name] = frame[name].map(text, na_action="ignore").astype(object).where(frame[name].notna(), NONE)
        titles = {key: sentence_case(metric.short_title) for key, metric in metrics.items()}
        return str(shown.rename(columns={**words, **titles, "status": "Status", "error": "Error"}).to_html(index=False))
