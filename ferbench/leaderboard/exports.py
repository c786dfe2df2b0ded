"""A board for programs: CSV with a line per row, JSON with everything."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ferbench.leaderboard.keys import Key
from ferbench.leaderboard.reported import Published
from ferbench.leaderboard.statistics import Paired, Spread
from ferbench.leaderboard.tables import METRICS, Board, Row, Table
from ferbench.records.schema import pretty_json
from ferbench.render.escape import LONG, csv_field

# The last bits of a mean differ between machines; the files must not.
DIGITS = 6


def render_json(board: Board) -> bytes:
    """Tables, rows, failures and what papers print; scores are fractions of 1, published values percent."""
    return pretty_json(
        {
            "failures": [asdict(failure) for failure in board.failures],
            "not_reproduced": [_published(value) for value in board.not_reproduced],
            "records": board.records,
            "tables": [_table(table) for table in board.tables],
        }
    )


def render_csv(board: Board) -> str:
    """One line per row of each table, and per published value without a row; columns `published_...` hold what papers
    print, in percent. Scores are fractions of 1, empty where a row is incomplete.
    """
    lines = [_line(table, row) for table in board.tables for row in table.rows]
    lines += [_published_line(value) for value in board.not_reproduced]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=_columns(), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(
            {name: csv_field(value, LONG) if isinstance(value, str) else value for name, value in line.items()}
        )
    return buffer.getvalue()


def _columns() -> list[str]:
    return [
        *("standard", "protocol", "dataset", "classes", "pool", "test_on", "budget", "backbone", "init"),
        *("precision", "data", "headline", "overrides", "method", "title", "complete", "n_seeds", "seeds", "labels"),
        *(f"{metric}_{part}" for metric in METRICS for part in ("mean", "sd")),
        *("gain_over", "gain_mean", "gain_low", "gain_high", "gain_pairs"),
        *("optimism_mean", "image_passes", "minutes_median"),
        *(f"published_{name}" for name in ("percent", "metric", "selected_on", "backbone", "source", "address")),
    ]


def _line(table: Table, row: Row) -> dict[str, Any]:
    gain = _paired(row.gain) or {}
    line: dict[str, Any] = {
        **_key(table.key),
        "method": row.name,
        "title": row.title,
        "complete": "yes" if row.complete else "no",
        "n_seeds": len(row.by_seed),
        "seeds": " ".join(map(str, sorted(row.by_seed))),
        "labels": row.labels[1],
        "gain_over": table.baseline if gain else None,
        **{f"gain_{name}": value for name, value in gain.items()},
        "optimism_mean": _rounded(row.optimism.mean) if row.optimism else None,
        "image_passes": row.image_passes,
        "minutes_median": _rounded(row.minutes),
    }
    for metric, value in row.metrics.items():
        line[f"{metric}_mean"], line[f"{metric}_sd"] = _rounded(value.mean), _rounded(value.sd)
    line["standard"] = "yes" if table.key.standard else "no"
    line |= _published_columns([value for value in table.published if value.method == row.name])
    return {name: line.get(name) for name in _columns()}


def _published_line(value: Published) -> dict[str, Any]:
    place = {"dataset": value.block.dataset, "classes": value.block.classes, "budget": value.budget.label()}
    return {**place, "method": value.method, "title": value.title, **_published_columns([value])}


def _published_columns(values: Sequence[Published]) -> dict[str, str]:
    """Several values of one row are parted by bars, in the same order in each column."""
    origins = [value.block.origin for value in values]
    columns: dict[str, Sequence[str]] = {
        "percent": [f"{value.percent:f}" for value in values],
        "metric": [origin.metric for origin in origins],
        "selected_on": [origin.selected_on for origin in origins],
        "backbone": [origin.backbone or "not stated" for origin in origins],
        "source": [f"{origin.citation}, {origin.source}" for origin in origins],
        "address": [origin.address for origin in origins],
    }
    return {f"published_{name}": " | ".join(texts) for name, texts in columns.items()}


def _table(table: Table) -> dict[str, Any]:
    return {
        **_key(table.key),
        "baseline": table.baseline,
        "notes": list(table.notes),
        "test_images": dict(zip(table.key.class_names, table.class_counts, strict=True)),
        "rows": [_row(row) for row in table.rows],
        "published": [_published(value) for value in table.published],
    }


def _published(value: Published) -> dict[str, Any]:
    block = asdict(value.block)
    return {
        **block.pop("origin"),
        **block,
        "title": value.title,
        "method": value.method,
        "budget": value.budget.label(),
        "percent": float(value.percent),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "method": row.name,
        "title": row.title,
        "complete": row.complete,
        "labels": list(row.labels),
        "headline_by_seed": {str(seed): _rounded(value) for seed, value in row.by_seed.items()},
        "metrics": {name: _spread(value) for name, value in row.metrics.items()},
        "recall": {name: _spread(value) for name, value in row.recalls.items()},
        "gain": _paired(row.gain),
        "optimism": _spread(row.optimism),
        "image_passes": row.image_passes,
        "minutes_median": _rounded(row.minutes),
    }


def _key(key: Key) -> dict[str, Any]:
    return {
        "standard": key.standard,
        "protocol": key.protocol,
        "dataset": key.dataset,
        "classes": key.classes,
        "pool": key.pool,
        "test_on": key.test_on,
        "budget": key.budget.label(),
        "backbone": key.backbone,
        "init": key.init,
        "precision": key.precision,
        "data": key.data,
        "headline": key.headline,
        "overrides": key.protocol_overrides,
    }


def _spread(value: Spread | None) -> dict[str, float | None] | None:
    return None if value is None else {"mean": _rounded(value.mean), "sd": _rounded(value.sd)}


def _paired(value: Paired | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        "mean": _rounded(value.mean),
        "low": _rounded(value.low),
        "high": _rounded(value.high),
        "pairs": value.pairs,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS) + 0.0  # no "-0.0"
