"""The table that a cell belongs to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ferbench.contract.protocol import Headline
from ferbench.records.cell import Budget

SAME = ("protocol", "dataset", "classes", "pool", "test_on", "backbone", "init", "precision", "headline")
"""Fields of a key that have the same name in a frame."""


@dataclass(frozen=True)
class Key:
    """The fields that all rows of a table share. Rows that differ in any of them never share a table."""

    protocol: str
    dataset: str
    classes: str
    pool: str | None
    test_on: str | None
    budget: Budget
    backbone: str
    init: str
    precision: str
    data: str
    test: str
    folds: int | None
    headline: Headline
    class_names: tuple[str, ...]
    protocol_overrides: str
    standard: bool
    draft: bool

    def order(self) -> tuple[object, ...]:
        """Sort key of tables: field by field, missing values first."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple((value is not None, value.order() if isinstance(value, Budget) else value) for value in values)


def start_text(init: str) -> str:
    """The start of a net: `trained from scratch`, or `initial weights sha256:0123456789ab`."""
    return "trained from scratch" if init == "scratch" else f"initial weights {init[:19]}"


def table_key(row: Mapping[str, Any]) -> Key:
    """The table that a row of a frame (`records/frame.py`) belongs to."""
    amount = {name: row[name] for name in ("ratio", "count", "per_class") if row[name] is not None}
    folds = row["fingerprint_folds"]
    return Key(
        **{name: row[name] for name in SAME},
        budget=Budget(**amount, allocation=row["allocation"]),
        data=row["fingerprint_data"],
        # With folds, every seed has its own test images; the seeds share only the subjects of all folds.
        test=folds or row["fingerprint_test"],
        folds=row["n_folds"] if folds else None,
        class_names=tuple(json.loads(row["class_names"])),
        protocol_overrides=row["protocol_overrides"],
        standard=row["standard"],
        draft=row["draft"],
    )
