"""Published values: the command that measures one, its fields in flat files, and the distance of runs from it."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from ferbench.leaderboard.keys import start_text
from ferbench.leaderboard.reported import Published
from ferbench.records.cell import Cell
from ferbench.records.metrics import BY_KEY
from ferbench.records.schema import Record, Result
from ferbench.render.numbers import counted

AMOUNTS = {"ratio": "--ratio", "count": "--labels", "per_class": "--per-class"}
"""The option for each way to give a budget."""
SEEDS = "0-4"
"""Papers print one run or a mean; ferbench always measures a mean."""


def commands(values: Iterable[Published]) -> list[str]:
    """Commands that measure the values of one block, one for each way to give a budget.

    Values of methods that ferbench does not have are skipped. The protocol is the one that the paper's file names, or
    else the default one, which does not train as the paper did.
    """
    grids: dict[tuple[str, str], list[Published]] = {}
    for value in values:
        if value.method:
            way = next(name for name in AMOUNTS if getattr(value.budget, name) is not None)
            grids.setdefault((way, value.budget.allocation), []).append(value)
    return [_command(*way, grid) for way, grid in grids.items()]


def _command(way: str, allocation: str, values: Sequence[Published]) -> str:
    block = values[0].block
    methods = dict.fromkeys(str(value.method) for value in values)
    amounts = dict.fromkeys(str(getattr(value.budget, way)) for value in values)
    return shlex.join(
        [
            *("ferbench", "run"),
            *(("--protocol", block.origin.reproduced_by) if block.origin.reproduced_by else ()),
            *("--dataset", block.dataset, "--classes", block.classes, "--method", ",".join(methods)),
            *(AMOUNTS[way], ",".join(amounts)),
            *(("--allocation", allocation) if way == "count" else ()),
            *(("--init", block.origin.init) if block.origin.init else ()),
            *("--seed", SEEDS),
        ]
    )


def published_fields(values: Sequence[Published]) -> dict[str, str]:
    """Columns of published values in flat files; several values are separated by ` | `, in the same order in each."""
    origins = [value.block.origin for value in values]
    columns: dict[str, Sequence[str]] = {
        "percent": [f"{value.percent:f}" for value in values],
        "metric": [origin.metric for origin in origins],
        "selected_on": [origin.selected_on for origin in origins],
        "backbone": [origin.backbone or "not stated" for origin in origins],
        "source": [f"{origin.citation}, {origin.source}" for origin in origins],
        "address": [origin.address for origin in origins],
        "command": [next(iter(commands([value])), "none") for value in values],
    }
    return {name: " | ".join(texts) for name, texts in columns.items()} if values else {}


def distances(records: Iterable[Record], published: Iterable[Published]) -> Iterator[str]:
    """Distances of records from published values, one line per value and trained net.

    Only records of the protocol that reproduces a value are used, without overrides and without a pool.
    """
    found = [(record.cell, record.result) for record in records if record.result and not record.cell.overrides]
    for value in published:
        nets: dict[tuple[str, ...], list[tuple[Cell, Result]]] = {}
        for cell, result in found:
            if _measures(cell, result, value):
                nets.setdefault((cell.backbone, cell.init, cell.precision), []).append((cell, result))
        for measured in nets.values():
            yield _distance(value, measured)


def _measures(cell: Cell, result: Result, value: Published) -> bool:
    block = value.block
    return (
        (cell.protocol, cell.row) == (block.origin.reproduced_by, value.method)
        and (cell.dataset, cell.classes, cell.budget) == (block.dataset, block.classes, value.budget)
        and cell.pool is None
        and cell.test_on is None
        and block.test_images in (None, result.n_test)
    )


def _distance(value: Published, measured: Sequence[tuple[Cell, Result]]) -> str:
    origin, cell = value.block.origin, measured[0][0]
    last = fmean(getattr(result.metrics, origin.metric) for _, result in measured)
    best = fmean(getattr(result.oracle, origin.metric) for _, result in measured if result.oracle)
    metric = "" if origin.metric == "accuracy" else f" {BY_KEY[origin.metric].title}"
    return (
        f"{cell.row}, {cell.dataset}, {cell.budget.title()}: published {value.percent:f}{metric} "
        f"({origin.selected_on}), here {_beside(value, best)} at its best test epoch, {_beside(value, last)} at the "
        f"last step ({counted(len(measured), 'seed')}, {cell.backbone}, {start_text(cell.init)}, {cell.precision})"
    )


def _beside(value: Published, score: float) -> str:
    """`83.9 (-0.5)`: a score in percent, and its distance from the published one."""
    return f"{100 * score:.1f} ({100 * score - float(value.percent):+.1f})"
