"""The cells behind a row: their files, curves and hashes."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from ferbench.contract.events import EpochRow
from ferbench.errors import VerificationError
from ferbench.leaderboard.keys import Key, table_key
from ferbench.leaderboard.site.figures import Points
from ferbench.records.cell import Cell
from ferbench.records.dotted import flat
from ferbench.records.files import read_bounded
from ferbench.records.frame import rows_of
from ferbench.records.history import HISTORY, MAX_HISTORY_BYTES, history_digest, parse_history
from ferbench.records.reproduction import Sources, run_command
from ferbench.records.schema import MAX_RECORD_BYTES, parse_json
from ferbench.records.store import RECORD

FINGERPRINTS = ("data", "labeled", "unlabeled", "test", "split_rule")
COPIED = {RECORD: MAX_RECORD_BYTES, HISTORY: MAX_HISTORY_BYTES}
"""What a site has of a cell. Predictions hold the labels of test images, which a licence may not let out."""
Value = Callable[[EpochRow], float | None]
"""What picks a number of an epoch."""


@dataclass(frozen=True)
class Run:
    """One cell of a row."""

    fields: dict[str, Any]
    """Its line of the frame (`records/frame.py`)."""

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.fields["seed"])

    @property
    def folder(self) -> str:
        """Where its files lie below `records/`."""
        return str(self.fields["folder"])

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Contents of the files that are copied, by name; what cannot be read is absent."""
        found = {}
        for name, limit in COPIED.items():
            if self.fields["path"] is not None:
                try:
                    found[name] = read_bounded(Path(self.fields["path"]).parent / name, limit)
                except VerificationError:
                    continue
        return found

    @cached_property
    def history(self) -> list[EpochRow]:
        """Its epochs; none where the file is not the one that the record names."""
        try:
            rows = parse_history(parse_json(self.files.get(HISTORY, b"[]"), MAX_HISTORY_BYTES), HISTORY)
        except VerificationError:
            return []
        return rows if history_digest(rows) == self.fields["history_digest"] else []

    @cached_property
    def cell(self) -> Cell | None:
        """What was run; None where the record cannot be read."""
        try:
            return Cell.model_validate(parse_json(self.files[RECORD])["cell"])
        except (KeyError, VerificationError, ValidationError):
            return None

    @property
    def reproduce(self) -> str:
        """The command that runs it again and compares."""
        return shlex.join(["ferbench", "reproduce", f"records/{self.folder}/{RECORD}", "--run"])

    @property
    def report(self) -> str:
        """The command that makes a page of it."""
        return shlex.join(["ferbench", "report", f"records/{self.folder}"])

    @property
    def hashes(self) -> dict[str, str]:
        """What its files and data must hash to, by name."""
        named = {
            "cell": self.fields["cell_id"],
            "predictions": self.fields["predictions_digest"],
            "history": self.fields["history_digest"],
            "model": self.fields["model_digest"],
            "method code": self.fields["plugin_source_hash"],
            **{part.replace("_", " "): self.fields[f"fingerprint_{part}"] for part in FINGERPRINTS},
        }
        return {name: value for name, value in named.items() if value}

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Its configuration, a line for each field."""
        config = json.loads(self.fields["config"])
        return [(name, json.dumps(value, ensure_ascii=False)) for name, value in flat(config)]


def runs_by_row(cells: pd.DataFrame) -> dict[tuple[Key, str], list[Run]]:
    """The cells that have a result, in the order of their seeds, by table and name of the row."""
    found: dict[tuple[Key, str], list[Run]] = {}
    for fields in rows_of(cells[cells["status"] == "ok"].sort_values("seed", kind="stable")):
        found.setdefault((table_key(fields), fields["row"]), []).append(Run(fields))
    return found


def command(runs: Sequence[Run]) -> str | None:
    """What runs all seeds of a row; None where the record cannot be read."""
    if runs[0].cell is None:
        return None
    words = run_command(runs[0].cell, Sources())
    words[words.index("--seed") + 1] = ",".join(str(run.seed) for run in runs)
    return shlex.join(words)


def evaluations(metric: str) -> Value:
    """What picks a metric of an epoch that ends with an evaluation."""
    return lambda row: (row.evaluation or {}).get(metric)


def precision(row: EpochRow) -> float | None:
    """How many of the used pseudo-labels were right."""
    return row.pseudo_label_precision


def mask_rate(row: EpochRow) -> float | None:
    """How many unlabeled images had a pseudo-label that was used."""
    return row.mask_rate


def mean_points(runs: Sequence[Run], value: Value) -> Points:
    """The mean over seeds at the steps that all of them have."""
    lines = [dict(_points(run.history, value)) for run in runs]
    steps = sorted(set.intersection(*map(set, lines))) if lines else []
    return [(step, sum(line[step] for line in lines) / len(lines)) for step in steps]


def confusion(runs: Sequence[Run]) -> NDArray[np.int64]:
    """Counts over all seeds; rows are true classes, columns predicted."""
    counts: NDArray[np.int64] = np.sum([json.loads(run.fields["confusion"]) for run in runs], axis=0, dtype=np.int64)
    return counts


def _points(history: Sequence[EpochRow], value: Value) -> Iterator[tuple[float, float]]:
    for row in history:
        found = value(row)
        if found is not None:
            yield float(row.step), float(found)
