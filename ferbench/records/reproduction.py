"""Run a record's cell again, and compare the results."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ferbench.records.cell import Cell
from ferbench.records.names import PoolName
from ferbench.records.schema import Result

NEWER_FIELDS = ("forward_images", "optimizer_steps")
"""Fields of a result that records of 0.1 lack. Other fields may be null too, but then the null says something."""


@dataclass(frozen=True)
class Difference:
    """A value in the record, and its different value now."""

    name: str
    recorded: str
    now: str


@dataclass(frozen=True)
class Sources:
    """Paths on this machine for the things that a cell knows only by name or hash."""

    dataset: str | None = None
    pool: str | None = None
    init: str | None = None
    test_on: str | None = None


def run_options(cell: Cell, sources: Sources) -> dict[str, Any]:
    """Return the options of `ferbench run` by their names in the Python API; options that are not set are omitted."""
    budget, pool = cell.budget, sources.pool or cell.pool_name
    options: dict[str, Any] = {
        "method": cell.method,
        "variant": cell.variant,
        "head": cell.head,
        "dataset": sources.dataset or cell.dataset,
        "classes": cell.classes,
        "unlabeled": str(PoolName(pool, cell.keeps_rest)) if pool else None,
        "ratio": budget.ratio,
        "labels": budget.count,
        "per_class": budget.per_class,
        "allocation": None if budget.per_class is not None else budget.allocation,
        "backbone": cell.backbone,
        "init": sources.init or cell.init,
        "seed": cell.seed,
        "protocol": cell.protocol,
        "precision": cell.precision,
        **cell.compiled,
        "test_on": cell.test_on and (sources.test_on or cell.test_on),
        "overrides": {
            **cell.overrides.protocol,
            **{f"{cell.method}.{name}": value for name, value in cell.overrides.method.items()},
        },
    }
    return {name: value for name, value in options.items() if value not in (None, {})}


def run_command(cell: Cell, sources: Sources) -> list[str]:
    """Return the command that runs the cell, as a list of arguments."""
    command = ["ferbench", "run"]
    for name, value in run_options(cell, sources).items():
        if name == "overrides":
            for key, setting in value.items():
                command += ["--set", f"{key}={json.dumps(setting)}"]
        else:
            command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def result_differences(recorded: Result, now: Result) -> list[Difference]:
    """Return every field that differs; on one machine, results are expected to be equal bit for bit.

    A metric that is newer than the record is computed from its confusion matrix or, if that is impossible, not
    compared. Other fields that are newer than the record are not compared.
    """
    newer = {name for name in NEWER_FIELDS if getattr(recorded, name) is None}
    before, after = (result.model_dump(mode="json", exclude=newer) for result in (recorded, now))
    scores = recorded.scores()
    before["metrics"] |= scores
    after["metrics"] = {name: value for name, value in after["metrics"].items() if scores.get(name, value) is not None}
    return list(_differences("", before, after))


def text_differences(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Return the entries of two mappings that differ; an entry that one of them lacks counts as a difference."""
    return [
        Difference(name, recorded.get(name, "absent"), now.get(name, "absent"))
        for name in sorted(recorded.keys() | now.keys())
        if recorded.get(name) != now.get(name)
    ]


def _differences(name: str, recorded: Any, now: Any) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted(recorded.keys() | now.keys()):
            yield from _differences(f"{name}.{key}".removeprefix("."), recorded.get(key), now.get(key))
    elif recorded != now:
        yield Difference(name, json.dumps(recorded), json.dumps(now))
