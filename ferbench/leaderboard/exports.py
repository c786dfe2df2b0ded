"""A board for programs: JSON with everything; CSV and Parquet with a line per row."""

import io
from dataclasses import asdict
from typing import Any

import pandas as pd

from ferbench.leaderboard.columns import DIGITS, flat_columns, json_row
from ferbench.leaderboard.keys import Key
from ferbench.leaderboard.published import commands, published_fields
from ferbench.leaderboard.reported import Published
from ferbench.leaderboard.tables import Board, Row, Table
from ferbench.records.frame import typed_frame
from ferbench.records.schema import pretty_json
from ferbench.render.escape import LONG, csv_field


def render_json(board: Board) -> bytes:
    """Tables, rows, failures and published values as JSON; scores are fractions of 1, published values percent."""
    return pretty_json(
        {
            "failures": [asdict(failure) for failure in board.failures],
            "not_reproduced": [_published(value) for value in board.not_reproduced],
            "records": board.records,
            "left_out": [asdict(each) for each in board.left_out],
            "broken": board.broken,
            "tables": [_table(table) for table in board.tables],
        }
    )


def board_frame(board: Board) -> pd.DataFrame:
    """One line per row of each table, and one per published value without a row.

    Columns `published_...` hold the values that papers print, in percent. Scores are fractions of 1, and missing if a
    row is incomplete.
    """
    lines = [_line(table, row) for table in board.tables for row in table.rows]
    lines += [_published_line(value) for value in board.not_reproduced]
    types = {name: "boolean" if name == "standard" else "string" for name in PLACE}
    for column in flat_columns():
        types |= column.types()
    return typed_frame(lines, types)


def render_csv(board: Board) -> str:
    """The frame as CSV; missing values are empty."""
    frame = board_frame(board)
    for name, dtype in frame.dtypes.items():
        if dtype == "string":
            frame[name] = frame[name].map(lambda text: csv_field(text, LONG), na_action="ignore")
        elif dtype == "boolean":
            frame[name] = frame[name].map({True: "yes", False: "no"})
    return str(frame.to_csv(index=False, lineterminator="\n"))


def render_parquet(board: Board) -> bytes:
    """The frame as Parquet, every column with its type."""
    buffer = io.BytesIO()
    board_frame(board).to_parquet(buffer, index=False)
    return buffer.getvalue()


PLACE = (
    *("standard", "protocol", "dataset", "classes", "pool", "test_on", "budget", "backbone", "init"),
    *("precision", "data", "headline", "overrides"),
)


def _line(table: Table, row: Row) -> dict[str, Any]:
    line = _key(table.key)
    for column in flat_columns():
        line |= column.flat(row, table)
    return line


def _published_line(value: Published) -> dict[str, Any]:
    place = {"dataset": value.block.dataset, "classes": value.block.classes, "budget": value.budget.label()}
    fields = {f"published_{name}": text for name, text in published_fields([value]).items()}
    return {**place, "method": value.method, "title": value.title, **fields}


def _table(table: Table) -> dict[str, Any]:
    return {
        **_key(table.key),
        "baseline": table.baseline,
        "seeds": table.seeds,
        "smallest_difference": None if table.smallest_difference is None else round(table.smallest_difference, DIGITS),
        "missing": list(table.missing),
        "notes": list(table.notes),
        "test_images": dict(zip(table.key.class_names, table.class_counts, strict=True)),
        "rows": [json_row(row, table) for row in table.rows],
        "published": [_published(value) for value in table.published],
    }


def _published(value: Published) -> dict[str, Any]:
    block = asdict(value.block)
    own = {"title": value.title, "method": value.method, "budget": value.budget.label()}
    command = next(iter(commands([value])), None)
    return {**block.pop("origin"), **block, **own, "percent": float(value.percent), "command": command}


def _key(key: Key) -> dict[str, Any]:
    """The place of a table, by the names in PLACE."""
    place = {**vars(key), "budget": key.budget.label(), "overrides": key.protocol_overrides}
    return {name: place[name] for name in PLACE}
