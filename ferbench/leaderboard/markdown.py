"""A board as Markdown."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from ferbench.leaderboard.columns import text_columns
from ferbench.leaderboard.reported import Published, ReportedBlock
from ferbench.leaderboard.tables import Board, Failure, Table
from ferbench.leaderboard.wording import (
    EXPLANATION,
    block_heading,
    caption,
    footnotes,
    heading,
    origin_heading,
    provenance,
    published_columns,
    published_rows,
    recall_cells,
    recall_columns,
)
from ferbench.render.escape import LONG, markdown


def render_markdown(board: Board) -> str:
    """The whole page; equal boards give equal bytes."""
    sections = (
        _introduction(board),
        _tables(board.tables),
        _failures(board.failures),
        _not_reproduced(board.not_reproduced),
    )
    return "\n".join(line for section in sections for line in section)


def _introduction(board: Board) -> Iterable[str]:
    yield "<!-- Written by `ferbench leaderboard build`; edits will be lost. -->"
    yield ""
    yield "# Leaderboard"
    yield ""
    if not board.tables:
        yield "There are no results yet. `ferbench run` makes records, `ferbench leaderboard build` tables of them."
        yield ""
        return
    standard = sum(table.key.standard for table in board.tables)
    yield f"{_count(board.records, 'record')}, {_count(standard, 'table')}{_others(len(board.tables) - standard)}."
    yield ""
    yield "Evaluated is the EMA model after the last step, never one chosen on the test set. Rows that differ in"
    yield "protocol, data, number of labels, backbone, initial weights or precision never share a table."
    yield ""
    for name, meaning in EXPLANATION:
        yield f"- **{name}**: {meaning}"
    if any(table.published for table in board.tables):
        yield "- **Published**: what papers print, in percent, and where; part of no gain, mean or order"
    yield ""


def _tables(tables: Iterable[Table]) -> Iterable[str]:
    for table in tables:
        yield f"## {markdown(heading(table.key))}"
        yield ""
        yield f"{markdown(caption(table.key, sum(table.class_counts)))}"
        yield ""
        columns = text_columns(table)
        rows = [[column.text(row, table) for column in columns] for row in table.rows]
        yield from _grid([column.title for column in columns], rows)
        yield ""
        for note in (*table.notes, *footnotes(table)):
            yield f"- {markdown(note, LONG)}"
        yield ""
        yield "Recall of each class, in percent (number of test images):"
        yield ""
        yield from _grid(recall_columns(table), [recall_cells(row) for row in table.rows if row.complete])
        yield ""


def _failures(failures: Sequence[Failure]) -> Iterable[str]:
    if not failures:
        return
    yield "## Cells without a result"
    yield ""
    yield from _grid(("Cell", "Status", "Reason"), [(item.folder, item.status, item.reason) for item in failures], "")
    yield ""


def _not_reproduced(published: Sequence[Published]) -> Iterable[str]:
    if not published:
        return
    yield "## Published, not reproduced"
    yield ""
    yield "What papers or their authors' code print, in percent, and no record measures. Protocol, selection, backbone"
    yield "and even test set are their own: these numbers compare neither with those above nor, across papers, with"
    yield "each other."
    yield ""
    for origin, values in groupby(published, key=lambda value: value.block.origin):
        yield f"### {markdown(origin_heading(origin), LONG)}"
        yield ""
        for name, text in provenance(origin):
            yield f"- {name}: {markdown(text, LONG)}"
        yield ""
        for block, printed in groupby(values, key=lambda value: value.block):
            yield from _block(block, list(printed))


def _block(block: ReportedBlock, values: Sequence[Published]) -> Iterable[str]:
    yield f"#### {markdown(block_heading(block))}"
    yield ""
    yield from _grid(published_columns(values), published_rows(values))
    yield ""
    if block.note:
        yield f"Note: {markdown(block.note, LONG)}"
        yield ""


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: str = "right") -> Iterable[str]:
    """A table; the first column holds words, the others numbers unless told otherwise."""
    others = "---:" if numbers else "---"
    yield f"| {' | '.join(map(markdown, columns))} |"
    yield f"| {' | '.join(['---', *[others] * (len(columns) - 1)])} |"
    for row in rows:
        yield f"| {' | '.join(map(markdown, row))} |"


def _others(tables: int) -> str:
    return f", and {_count(tables, 'table')} of runs that are not standard" if tables else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
