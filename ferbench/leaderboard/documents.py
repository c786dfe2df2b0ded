"""A board for people: Markdown, and LaTeX with a table environment per table (package booktabs)."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter

import pandas as pd

from ferbench.leaderboard import wording
from ferbench.leaderboard.columns import Column, further_columns, main_columns
from ferbench.leaderboard.summary import records_line, summary
from ferbench.leaderboard.tables import Board, Table
from ferbench.render.escape import LONG, latex, markdown
from ferbench.render.html import templates
from ferbench.render.numbers import counted


def render_markdown(board: Board) -> str:
    """The board as a Markdown page; equal boards give equal bytes."""
    environment = templates("ferbench.leaderboard", autoescape=False)
    environment.filters.update(
        markdown=markdown,
        sentence=partial(markdown, longest=LONG),
        counted=counted,
        recalls=wording.recall_cells,
        fields=lambda failure: (failure.folder, failure.status, failure.reason),
        in_groups=lambda values, name: [(key, list(same)) for key, same in groupby(values, attrgetter(name))],
    )
    page = environment.get_template("leaderboard.md.j2").render(
        board=board,
        headings=wording.headings([table.key for table in board.tables]),
        summary=summary(board),
        records_line=records_line(board),
        wording=wording,
        parts=(("", main_columns), ("Further numbers of the same rows:", further_columns)),
        texts=_texts,
        aligned=lambda columns: [":---" if column.words else "---:" for column in columns],
    )
    return page.rstrip("\n") + "\n"


def render_latex(board: Board) -> str:
    """Every table with its caption, and its notes as comments; equal boards give equal bytes."""
    parts = ["% Written by `ferbench leaderboard export`; needs \\usepackage{booktabs}. Notes are comments."]
    headings = wording.headings([table.key for table in board.tables])
    for number, table in enumerate(board.tables, 1):
        parts += _latex(table, headings[table.key], number)
    return "\n".join(parts) + "\n"


def _latex(table: Table, heading: str, number: int) -> Iterator[str]:
    columns = main_columns(table)
    texts = [map(latex, row) for row in _texts(table, columns)]
    frame = pd.DataFrame(texts, columns=[latex(column.title) for column in columns], dtype="string")
    yield ""
    yield frame.to_latex(
        index=False,
        escape=False,
        column_format="".join("l" if column.words else "r" for column in columns),
        caption=latex(f"{heading}. {wording.caption(table)}.", LONG),
        label=f"tab:ferbench-{number}",
        position="htbp",
    ).rstrip()
    for note in wording.all_notes(table):
        yield f"% {latex(note, LONG)}"


def _texts(table: Table, columns: Sequence[Column]) -> list[Sequence[str]]:
    return [[column.text(row, table) for column in columns] for row in table.rows]
