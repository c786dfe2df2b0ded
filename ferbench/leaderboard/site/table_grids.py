"""The grids on the pages of a table, its rows, changes and published values."""

from collections.abc import Sequence

from ferbench.leaderboard.changes import Change
from ferbench.leaderboard.columns import text_columns
from ferbench.leaderboard.reported import Published
from ferbench.leaderboard.site.grids import LEVELS, Cell, Grid, Head, choices
from ferbench.leaderboard.site.orders import wins
from ferbench.leaderboard.site.runs import Run, confusion
from ferbench.leaderboard.tables import Row, Table
from ferbench.leaderboard.wording import published_columns, published_rows, recall_cells, recall_columns
from ferbench.render.numbers import NONE, percent

CAPTION = "Mean ± standard deviation over seeds, the best row first; the name of a row links to its cells"
FILTERS = ("seeds", "labels")
"""Columns of numbers that are filtered like words."""
MOST_RIVALS = 20


def main_grid(table: Table, links: Sequence[str]) -> Grid:
    """The columns for people; each row links to its page."""
    columns = text_columns(table)
    named_by = next(index for index, column in enumerate(columns) if column.key == "title")
    rows = [[Cell(column.text(row, table)) for column in columns] for row in table.rows]
    for cells, link in zip(rows, links, strict=True):
        cells[named_by] = Cell(cells[named_by].text, link)
    heads = []
    for index, column in enumerate(columns):
        chosen = index != named_by and (column.words or column.key in FILTERS)
        offered = choices([cells[index].text for cells in rows]) if chosen else ()
        heads.append(Head(column.key, column.title, column.words, choices=offered))
    dim = frozenset(index for index, row in enumerate(table.rows) if not row.complete)
    return Grid("rows", CAPTION, tuple(heads), tuple(map(tuple, rows)), dim, named_by)


def recall_grid(table: Table, links: Sequence[str]) -> Grid:
    """Recall of each class of the complete rows."""
    titles = recall_columns(table)
    rows = []
    for row, link in zip(table.rows, links, strict=True):
        if row.complete:
            _, *texts = recall_cells(row)
            means = [None if value is None else value.mean for value in row.recalls.values()]
            levels = [None if mean is None else round(LEVELS * mean) for mean in means]
            cells = (Cell(text, level=level) for text, level in zip(texts, levels, strict=True))
            rows.append((Cell(row.title, link), *cells))
    heads = (Head(f"c{index}", title, words=not index) for index, title in enumerate(titles))
    return Grid("recall", "Recall of each class, in percent (number of test images)", tuple(heads), tuple(rows))


def win_grid(table: Table) -> Grid | None:
    """Number of shared seeds on which the row scored higher than the column; None with fewer than two rows."""
    rivals = [row for row in table.rows if row.complete][:MOST_RIVALS]
    if len(rivals) < 2:
        return None
    heads = (Head("title", "Method", words=True), *(Head(f"m{n}", row.title) for n, row in enumerate(rivals)))
    rows = tuple((Cell(row.title), *(_won(row, rival) for rival in rivals)) for row in rivals)
    return Grid("wins", "Seeds on which the row scored higher than the column, of those that both have", heads, rows)


def published_grid(values: Sequence[Published]) -> Grid:
    """One block of published values."""
    heads = (Head(f"c{index}", title, words=not index) for index, title in enumerate(published_columns(values)))
    rows = tuple(tuple(map(Cell, texts)) for texts in published_rows(values))
    return Grid("published", "Published, in percent", tuple(heads), rows)


def confusion_grid(runs: Sequence[Run], class_names: Sequence[str]) -> Grid:
    """Share of each predicted class by true class, over all seeds."""
    counts = confusion(runs)
    heads = (Head("true", "True class", words=True), *(Head(f"p{i}", name) for i, name in enumerate(class_names)))
    rows = []
    for name, line in zip(class_names, counts.tolist(), strict=True):
        total = sum(line)
        shares = [count / total if total else None for count in line]
        levels = [None if share is None else round(LEVELS * share) for share in shares]
        cells = (Cell(percent(share), level=level) for share, level in zip(shares, levels, strict=True))
        rows.append((Cell(f"{name} ({total})"), *cells))
    return Grid("confusion", "Predicted class by true class (images of all seeds)", heads, tuple(rows))


def _won(row: Row, rival: Row) -> Cell:
    if row is rival:
        return Cell(NONE)
    found = wins(row, rival)
    if not found.shared:
        return Cell(NONE)
    return Cell(f"{found.won:g} of {found.shared}", level=round(LEVELS * found.won / found.shared))


def changes_grid(changes: Sequence[Change]) -> Grid:
    """The changes since another edition."""
    lines = [(c.kind, c.row, c.before, c.after, c.table, ", ".join(c.fields) or NONE) for c in changes]
    kinds = choices([line[0] for line in lines])
    heads = (
        Head("kind", "Change", words=True, choices=kinds),
        *(Head(title.lower(), title, words=True) for title in ("Row", "Before", "Now", "Table", "Differs")),
    )
    return Grid("changes", "Changes", heads, tuple(tuple(map(Cell, line)) for line in lines))
