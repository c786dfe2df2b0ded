"""Runs to report on: histories with everything in them, records full of markup, and a reader of pages."""

import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ferbench.contract.events import EpochRow
from ferbench.records.cell import Cell
from ferbench.records.history import history_digest
from ferbench.records.schema import ErrorReport, Git, PluginStamp, Record
from ferbench.records.store import RunStore
from ferbench.reporting.run_files import RunFiles, read_run
from tests.unit.records.factory import CLASS_NAMES, make_cell, make_predictions, make_record

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>$\\frac{1}{2}$ [a](javascript:1) --> ]]> {{ 7*7 }} \u202e"
)


def full_history(classes: int = 7, epochs: int = 20, markup: str = "") -> list[EpochRow]:
    """Two stages, per-class lists with gaps, evaluations and every shape of method extras."""
    rows = []
    for epoch in range(1, epochs + 1):
        part = epoch / epochs
        row: dict[str, Any] = {
            "epoch": epoch,
            "stage": ("pretrain" if epoch <= 5 else "train") + markup,
            "step": 10 * epoch,
            "learning_rate": 0.001 * (1 + math.cos(math.pi * part)),
            "loss": 2 - part,
            "terms": {"supervised": 1.2 - part, "unlabeled": 0.4 + 0.4 * part, **({markup: 1.0} if markup else {})},
            "mask_rate": 0.8 * part,
            "mask_rate_per_class": [0.9 * part**i if i != 4 else None for i in range(classes)],
            "pseudo_label_precision": 0.5 + 0.3 * part,
            "pseudo_label_precision_per_class": [(0.4 + 0.5 * part) * (1 - 0.1 * i) for i in range(classes)],
            "pseudo_label_accuracy": 0.4 + 0.2 * part,
            "method": {
                "margin": [0.5 + 0.05 * i * part for i in range(classes)],
                "gate_usage": [0.5 * part, 1 - 0.5 * part],
                "temperature": 1 - 0.5 * part,
                "matrix": [[1.0, 2.0], [3.0, 4.0]],
                **({markup: [1.0] * classes} if markup else {}),
            },
        }
        if epoch % 4 == 0:
            row["evaluation"] = {"accuracy": 0.6 + 0.2 * part, "balanced_accuracy": 0.55, "macro_f1": 0.5}
        rows.append(EpochRow(**row))
    return rows


def write_run(root: Path, cell: Cell | None = None, history: list[EpochRow] | None = None, **changes: Any) -> Path:
    """A whole run whose record fits its files; returns the path of its record."""
    cell, history = cell or make_cell(), full_history() if history is None else history
    predictions = make_predictions()
    record = make_record(cell, predictions, history, **changes)
    return RunStore(root).write_result(cell, record, predictions, history)


def hostile_run(root: Path) -> RunFiles:
    """A valid record with markup wherever a record takes free text."""
    cell = make_cell(overrides={"method": {"note": HOSTILE}})
    stamp = PluginStamp(distribution=HOSTILE, version=HOSTILE, source_hash=HOSTILE)
    names = [f"{i}{HOSTILE}" for i in range(len(CLASS_NAMES))]
    history = full_history(markup=HOSTILE)
    record = make_record(cell, make_predictions(), history).model_dump(mode="json")
    record["config"] = {"protocol": {HOSTILE: {HOSTILE: HOSTILE}}, "method": {"note": HOSTILE, HOSTILE: [HOSTILE]}}
    record["measured"] |= {"device": HOSTILE, "host": HOSTILE, "started_at": HOSTILE}
    record["environment"] = {HOSTILE: HOSTILE}
    record["plugin"] = stamp.model_dump()
    record["plugins"] = {HOSTILE: stamp.model_dump()}
    record["git"] = Git(commit=HOSTILE, dirty=True).model_dump()
    record["selection"] = HOSTILE
    result = record["result"]
    result["class_names"] = names
    result["labeled_counts"] = dict.fromkeys(names, 10)
    result["fingerprints"] = dict.fromkeys(result["fingerprints"], HOSTILE)
    result["metrics"]["per_class_recall"] = dict.fromkeys(names, 0.5)
    result["history_digest"] = history_digest(history)
    path = RunStore(root).write_result(cell, Record.model_validate(record), make_predictions(), history)
    return read_run(path)


def hostile_failure(root: Path) -> RunFiles:
    """A failed run whose error is markup."""
    cell = make_cell(dataset="unheard-of")
    error = ErrorReport(type=HOSTILE, message=HOSTILE, traceback=f"Traceback\n  {HOSTILE}\n", step=3, term=HOSTILE)
    record = make_record(cell, make_predictions(), [], status="failed", result=None, error=error)
    return read_run(RunStore(root).write_result(cell, record))


class PageReader(HTMLParser):
    """Elements with their attributes, the texts, and which elements are not closed as they were opened."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(page.decode())
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All visible text, blanks collapsed."""
        return " ".join(" ".join(self.texts).split())

    @property
    def tags(self) -> set[str]:
        """The names of elements that occur."""
        return {tag for tag, _ in self.elements}
