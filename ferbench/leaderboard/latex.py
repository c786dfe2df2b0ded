"""A board as LaTeX, a table environment per table; a document needs the package booktabs."""

from collections.abc import Iterator

import pandas as pd

from ferbench.leaderboard.columns import text_columns
from ferbench.leaderboard.tables import Board, Table
from ferbench.leaderboard.wording import caption, footnotes, heading
from ferbench.render.escape import LONG, latex


def render_latex(board: Board) -> str:
    """Every table with its caption and, as comments, its notes; equal boards give equal bytes."""
    parts = ["% Written by `ferbench leaderboard export`; needs \\usepackage{booktabs}. Notes are comments."]
    parts += [part for number, table in enumerate(board.tables, 1) for part in _table(table, number)]
    return "\n".join(parts) + "\n"


def _table(table: Table, number: int) -> Iterator[str]:
    columns = text_columns(table)
    texts = [[latex(column.text(row, table)) for column in columns] for row in table.rows]
    frame = pd.DataFrame(texts, columns=[latex(column.title) for column in columns], dtype="string")
    title = f"{heading(table.key)}. {caption(table.key, sum(table.class_counts))}."
    yield ""
    yield frame.to_latex(
        index=False,
        escape=False,
        column_format="".join("l" if column.words else "r" for column in columns),
        caption=latex(title, LONG),
        label=f"tab:ferbench-{number}",
        position="htbp",
    ).rstrip()
    for note in (*table.notes, *footnotes(table)):
        yield f"% {latex(note, LONG)}"
