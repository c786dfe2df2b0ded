"""Records as a pandas frame: one row per cell, every column typed and explained."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd
from pydantic import BaseModel

from ferbench.contract.protocol import LABEL_TERMS
from ferbench.errors import UsageError, VerificationError
from ferbench.records.cell import FULL, Budget, Cell, canonical_json
from ferbench.records.checks import Protocols, why_not_standard
from ferbench.records.metrics import HEADLINES, METRICS, completed, outcome_of, shown_in
from ferbench.records.options_v1 import config_of_today
from ferbench.records.rows import VariantTitles, row_changes, row_name, row_title, titled
from ferbench.records.schema import Fingerprints, Measured, Oracle, PluginStamp, Record, Result
from ferbench.records.store import PREDICTIONS, read_predictions
from ferbench.records.verification import Verification, collect
from ferbench.render.escape import LONG, plain
from ferbench.render.numbers import NONE, sentence_case

TIME: Final = "datetime64[us, UTC]"
RECALL = "recall_"
"""Prefix of the further columns of a frame, which are not in COLUMNS: the recall of each tested class."""


@dataclass(frozen=True)
class Column:
    """One column of a frame; its pandas type allows missing values."""

    name: str
    dtype: str
    description: str
    value: Callable[[Record], Any]


def _at(record: Record, place: str) -> Any:
    """The value at a dotted place of a record such as `result.oracle.step`; None if a part is missing."""
    value: Any = record
    for name in place.split("."):
        value = getattr(value, name, None)
    return value


def _fields(model: type[BaseModel], dtype: str, place: str, names: str, prefix: str = "") -> Iterator[Column]:
    """Columns for fields of the part of a record at `place`, with the descriptions of the schema."""
    for name in names.split():
        description = model.model_fields[name].description or ""
        yield Column(prefix + name, dtype, description, partial(_at, place=f"{place}.{name}".lstrip(".")))


def _json(name: str, description: str, place: str) -> Column:
    def text(record: Record) -> str | None:
        value = _at(record, place)
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        return None if value is None else canonical_json(value).decode()

    return Column(name, "string", description, text)


def _trials(record: Record) -> int | None:
    return record.tunings["method"].trials if "method" in record.tunings else None


def _label_terms(record: Record) -> str | None:
    terms = {name: record.config.protocol[name] for name in LABEL_TERMS if name in record.config.protocol}
    return canonical_json(terms).decode() if terms else None


def _draft(record: Record) -> bool:
    return bool(record.config.protocol.get("draft"))


def _folds(record: Record) -> int | None:
    folds = record.config.protocol.get("folds")
    return folds if isinstance(folds, int) and folds > 0 else None


def _filled_in_by_row_of(record: Record) -> None:
    """Placeholder for a column that needs more than the record: its path, or the predictions next to it."""


_COUNTS = "n_test n_labeled n_validation n_relabeled n_unlabeled n_near_duplicates n_test_left_out"
_SECONDS = "wall_seconds cpu_seconds train_seconds data_wait_seconds images_per_second"
_HEADLINES = " ".join(metric.key for metric in HEADLINES)

COLUMNS: tuple[Column, ...] = (
    Column(
        "folder", "string", "folder of the cell's files, relative to the runs folder", lambda r: str(r.cell.folder())
    ),
    *_fields(Record, "string", "", "cell_id status"),
    *_fields(Record, "boolean", "", "standard"),
    Column("draft", "boolean", "whether the protocol was a draft; cells of a draft are never standard", _draft),
    Column("error", "string", "why there is no result", partial(_at, place="error.line")),
    Column("row", "string", "name of the row in a table, with overrides of the method", lambda r: row_name(r.cell)),
    Column("title", "string", "name of the row for people", row_title),
    *_fields(Cell, "string", "cell", "protocol dataset classes pool test_on"),
    Column("budget", "string", "the label budget as in folder names: ratio-0.05", lambda r: r.cell.budget.label()),
    Column("ratio", "Float64", "share of the training labels", partial(_at, place="cell.ratio")),
    *_fields(Budget, "Int64", "cell.budget", "count per_class"),
    *_fields(Budget, "string", "cell.budget", "allocation"),
    *_fields(Cell, "string", "cell", "method variant head backbone init precision"),
    *_fields(Cell, "Int64", "cell", "seed"),
    Column(
        "overrides", "string", "fields that differ from the defaults; empty if none", partial(_at, place="cell.changes")
    ),
    Column(
        "protocol_overrides", "string", "the overrides of the protocol only", lambda r: row_changes(r.cell, "protocol")
    ),
    *_fields(Record, "string", "", "headline selection"),
    *(Column(metric.key, "Float64", metric.description, _filled_in_by_row_of) for metric in METRICS),
    *_fields(Oracle, "Float64", "result.oracle", _HEADLINES, "oracle_"),
    *_fields(Oracle, "Int64", "result.oracle", "step evaluations", "oracle_"),
    *_fields(Result, "Int64", "result", f"{_COUNTS} steps image_passes forward_images optimizer_steps parameters"),
    Column(
        "labels_seen", "Int64", "number of images whose label the method saw", partial(_at, place="result.labels_seen")
    ),
    Column("label_terms", "string", "held-out labels and label noise of the protocol as JSON", _label_terms),
    Column("n_folds", "Int64", "number of folds of subjects in the protocol", _folds),
    _json("class_names", "the classes as a JSON list", "result.class_names"),
    _json("confusion", "the confusion matrix as JSON, one list per true class", "result.confusion"),
    *_fields(Fingerprints, "string", "result.fingerprints", " ".join(Fingerprints.model_fields), "fingerprint_"),
    *_fields(Result, "string", "result", "predictions_digest history_digest model_digest"),
    Column(
        "config",
        "string",
        "the resolved configuration as JSON, with the present names of options",
        lambda r: canonical_json(config_of_today(r).model_dump(mode="json")).decode(),
    ),
    _json("environment", "versions and hardware as JSON", "environment"),
    *_fields(PluginStamp, "string", "plugin", "distribution version source_hash", "plugin_"),
    Column("tuning_trials", "Int64", "number of settings tried for its tuned options, as declared", _trials),
    *_fields(Record, "Int64", "", "engine_version"),
    *_fields(Measured, TIME, "measured", "started_at finished_at"),
    *_fields(Measured, "Float64", "measured", _SECONDS),
    *_fields(Measured, "Int64", "measured", "peak_memory_bytes threads processes resumed"),
    *_fields(Measured, "string", "measured", "device executor host"),
    Column("path", "string", "the record.json that the row was read from", _filled_in_by_row_of),
)


def load(path: str | Path = "runs") -> pd.DataFrame:
    """Read the records below a folder, or one record.json, into a frame with one row per cell.

    Records that are broken or contradict themselves are left out. A warning names them, and
    `frame.attrs["problems"]` maps their paths to the reasons. Raises UsageError if there is no record at all.
    """
    root = Path(path)
    remedy = "name a runs folder or a record.json; `ferbench run` and ferbench.run() write them"
    if not root.exists():
        raise UsageError(f"{root} does not exist; {remedy}")
    frame = read_frame(root, {})
    problems = frame.attrs["problems"]
    if frame.empty and not problems:
        raise UsageError(f"there is no record.json below {root}; {remedy}")
    if problems:
        lines = "".join(f"\n  {file}: {reason}" for file, reason in problems.items())
        warnings.warn(f"{len(problems)} of the records below {root} are left out:{lines}", stacklevel=2)
    return frame


def read_frame(root: Path, protocols: Protocols, titles: VariantTitles = MappingProxyType({})) -> pd.DataFrame:
    """Read the records below a folder that satisfy the rules of the protocols; the others are in `attrs["problems"]`.

    `titles` names the variants of records that are older than variant titles.
    """
    found = collect(root, protocols)
    frame = frame_of((titled(record, titles) for record in found.records.values()), found.records)
    frame.attrs["problems"] = {str(path): plain(reason, LONG) for path, reason in found.problems.items()}
    return frame


def verified_frame(found: Iterable[Verification], titles: VariantTitles = MappingProxyType({})) -> pd.DataFrame:
    """Return the records that satisfy all rules, with their level in the column `consistency`.

    `attrs["problems"]` has the others. A record of an unknown protocol counts as not standard, whatever it says.
    """
    found = list(found)
    records = [(each.path, _vouched(each.record, each)) for each in found if each.holds and each.record is not None]
    frame = frame_of((titled(record, titles) for _, record in records), (path for path, _ in records))
    # a column, not an attribute: pandas deep-copies attributes with every slice of a frame
    levels = {str(each.path): each.verdict.level for each in found}
    frame = frame.assign(consistency=frame["path"].map(levels).astype("string"))
    frame.attrs["problems"] = {
        str(each.path): plain("; ".join(each.verdict.failures), LONG) for each in found if each.failures
    }
    return frame


def with_protocols(frame: pd.DataFrame, found: Iterable[Verification], protocols: Protocols) -> pd.DataFrame:
    """Add the columns `has_full_budget` and `not_standard` to the frame of verified records.

    `has_full_budget` says whether the protocol has a budget with all labels; it is missing if the protocol is not
    installed. `not_standard` says why a record is not standard; it is missing for the others.
    """
    full = {name: FULL.ratio in protocol.ratios for name, protocol in protocols.items()}
    reasons = {
        str(each.path): why_not_standard(each.record, protocols.get(each.record.cell.protocol))
        for each in found
        if each.record is not None
    }
    return frame.assign(
        has_full_budget=frame["protocol"].map(full).astype("boolean"),
        not_standard=frame["path"].map(reasons).where(~frame["standard"]).astype("string"),
    )


def _vouched(record: Record, each: Verification) -> Record:
    unknown = record.result is not None and each.verdict.level == "submitted"
    return record.model_copy(update={"standard": False}) if unknown else record


def frame_of(records: Iterable[Record], paths: Iterable[Path | None] = repeat(None)) -> pd.DataFrame:
    """Return one row per record, in order. If a record has a path, its missing metrics come from its predictions."""
    rows = [row_of(record, path) for record, path in zip(records, paths, strict=False)]
    recalls = dict.fromkeys(name for row in rows for name in row if name.startswith(RECALL))
    types = {column.name: column.dtype for column in COLUMNS} | dict.fromkeys(recalls, "Float64")
    return typed_frame(rows, types)


def row_of(record: Record, path: Path | None = None) -> dict[str, Any]:
    """Return a record as a row: the value of every column by its name, None if it is missing."""
    row = {column.name: column.value(record) for column in COLUMNS}
    row["path"] = None if path is None else str(path)
    if record.result is not None:
        row |= _scores(record.result, path)
        recalls = record.result.metrics.per_class_recall
        row |= {f"{RECALL}{name}": recalls.get(name) for name in record.result.class_names}
    return row


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, each in the form of `row_of`."""
    names = [str(name) for name in frame.columns]
    columns = [
        [None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for _, column in frame.items()
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with exactly these columns; a value that a row lacks is missing, whatever the type."""
    return pd.DataFrame({name: _array([row.get(name) for row in rows], dtype) for name, dtype in types.items()})


def _array(values: list[Any], dtype: Any) -> Any:
    if dtype == TIME:  # an untrusted string; if it is not a time, the value is missing
        texts = pd.Series(values, dtype="string")
        return pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").astype(TIME)
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
        """Return the records as a frame like that of `ferbench.load`."""
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
