"""Rows of a history: what is read from anywhere, and that a digest outlives the types."""

import json
from pathlib import Path
from typing import Any

import pytest

from ferbench.contract.events import Epoch, EpochRow, Finished, Notice, Started, Step, event_line, read_event
from ferbench.errors import VerificationError
from ferbench.records.cell import digest
from ferbench.records.history import history_bytes, history_digest, read_history
from tests.support.refusals import refused
from tests.unit.records.factory import make_row

ROW: dict[str, Any] = {
    "epoch": 1,
    "stage": "train",
    "step": 90,
    "learning_rate": 0.004,
    "loss": 1.5,
    "terms": {"supervised": 1.0, "unlabeled": 0.5},
    "mask_rate": 0.25,
    "mask_rate_per_class": [0.5, None],
    "pseudo_label_precision": None,
    "method": {"margin": [[0.5], [1.0]]},
}
"""As version 0.1 wrote them: without what was not measured, with null where it could not be."""


def test_a_row_of_0_1_keeps_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps([ROW]))
    rows = read_history(path)
    assert (rows[0].mask_rate, rows[0].evaluation) == (0.25, None)
    assert history_digest(rows) == digest([ROW])
    assert json.loads(history_bytes(rows)) == [ROW]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"a": 1}', "list"),
        ("[1]", "0"),
        ("nonsense", "not JSON"),
        (json.dumps([ROW, {**ROW, "loss": "x"}]), "1.loss"),
        (json.dumps([{**ROW, "evaluation": {"accuracy": None}}]), "evaluation.accuracy"),
        (json.dumps([{**ROW, "gradient": 1.0}]), "0.gradient"),
    ],
)
def test_a_broken_history_names_the_place(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(content)
    with refused(VerificationError, named):
        read_history(path)


@pytest.mark.parametrize(
    "event",
    [
        Started(),
        Step(step=3, steps=9),
        Epoch(row=EpochRow(**ROW)),
        Notice(text="two\nlines, \u201cquoted\u201d"),
        Finished(status="ok", metrics={"accuracy": 0.5}, wall_seconds=1.5),
        Finished(status="failed", message="why"),
    ],
    ids=lambda event: event.kind,
)
def test_an_event_is_one_line_and_comes_back(event: Any) -> None:
    line = event_line(event)
    assert b"\n" not in line
    assert read_event(line) == event
    assert event_line(read_event(line)) == line


@pytest.mark.parametrize(
    "line", [b"", b"loading weights", b"{}", b'{"kind": "step"}', b'{"kind": "other"}', b"[" * 10_000]
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_event(line)


def test_rows_are_equal_by_value() -> None:
    assert make_row(2) == make_row(2) != make_row(3)
