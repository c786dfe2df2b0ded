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
WEIGHTS = "WEIGHTS-FILE"
"""In a command, the file of initial weights: a record has only its hash."""
COPIED = {RECORD: MAX_RECORD_BYTES, HISTORY: MAX_HISTORY_BYTES}
"""Files of a cell that a site copies. Predictions contain the labels of test images; a licence may forbid those."""
Value = Callable[[EpochRow], float | None]
"""Returns a number of an epoch, or None if the epoch does not have it."""


@dataclass(frozen=True)
class Run:
    """One cell of a row."""

    fields: dict[str, Any]
    """Its line of the frame (`records/frame.py`)."""

    @property
    def seed(self) -> int:
        """The seed of the cell."""
        return int(self.fields["seed"])

    @property
    def folder(self) -> str:
        """The folder of its files, relative to `records/`."""
        return str(self.fields["folder"])

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Contents of the copied files, by name; unreadable files are absent."""
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
        """Its epochs; empty if the file does not match the digest in the record."""
        try:
            rows = parse_history(parse_json(self.files.get(HISTORY, b"[]"), MAX_HISTORY_BYTES), HISTORY)
        except VerificationError:
            return []
        return rows if history_digest(rows) == self.fields["history_digest"] else []

    @cached_property
    def cell(self) -> Cell | None:
        """The cell of the record; None if the record cannot be read."""
        try:
            return Cell.model_validate(parse_json(self.files[RECORD])["cell"])
        except (KeyError, VerificationError, ValidationError):
            return None

    @property
    def weights(self) -> str | None:
        """The hash of the file of initial weights; None if the cell is trained from scratch."""
        init = str(self.fields["init"])
        return None if init == "scratch" else init

    @property
    def reproduce(self) -> str:
        """The command that runs the cell again and compares the results."""
        init = ["--init", WEIGHTS] if self.weights else []
        return shlex.join(["ferbench", "reproduce", f"records/{self.folder}/{RECORD}", *init, "--run"])

    @property
    def report(self) -> str:
        """The command that makes a page of the run."""
        return shlex.join(["ferbench", "report", f"records/{self.folder}"])

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of its files and data, by name."""
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
        """Its configuration: name and value of each field."""
        config = json.loads(self.fields["config"])
        return [(name, json.dumps(value, ensure_ascii=False)) for name, value in flat(config)]


def runs_by_row(cells: pd.DataFrame) -> dict[tuple[Key, str], list[Run]]:
    """The cells with a result, ordered by seed, by table and name of the row."""
    found: dict[tuple[Key, str], list[Run]] = {}
    for fields in rows_of(cells[cells["status"] == "ok"].sort_values("seed", kind="stable")):
        found.setdefault((table_key(fields), fields["row"]), []).append(Run(fields))
    return found


def command(runs: Sequence[Run]) -> str | None:
    """The command that runs all seeds of a row; None if the first record cannot be read."""
    if runs[0].cell is None:
        return None
    words = run_command(runs[0].cell, Sources(init=WEIGHTS if runs[0].weights else None))
    words[words.index("--seed") + 1] = ",".join(str(run.seed) for run in runs)
    return shlex.join(words)


def evaluations(metric: str) -> Value:
    """A function that returns a metric of an epoch; None if the epoch has no evaluation."""
    return lambda row: (row.evaluation or {}).get(metric)


def precision(row: EpochRow) -> float | None:
    """Share of the used pseudo-labels that were right."""
    return row.pseudo_label_precision


def mask_rate(row: EpochRow) -> float | None:
    """Share of unlabeled images whose pseudo-label was used."""
    return row.mask_rate


def mean_points(runs: Sequence[Run], value: Value) -> Points:
    """The mean over seeds at the steps that all of them have."""
    lines = [dict(_points(run.history, value)) for run in runs]
    steps = sorted(set.intersection(*map(set, lines))) if lines else []
    return [(step, sum(line[step] for line in lines) / len(lines)) for step in steps]


def confusion(runs: Sequence[Run]) -> NDArray[np.int64]:
    """Counts over all seeds, (classes, classes); rows are true classes, columns predicted ones."""
    counts: NDArray[np.int64] = np.sum([json.loads(run.fields["confusion"]) for run in runs], axis=0, dtype=np.int64)
    return counts


def _points(history: Sequence[EpochRow], value: Value) -> Iterator[tuple[float, float]]:
    for row in history:
        found = value(row)
        if found is not None:
            yield float(row.step), float(found)
