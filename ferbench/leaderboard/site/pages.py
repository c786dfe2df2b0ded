"""Make the files of one edition from a board and its cells; equal input gives equal bytes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import groupby
from operator import attrgetter

import pandas as pd

from ferbench.leaderboard import wording
from ferbench.leaderboard.build import FORMATS
from ferbench.leaderboard.changes import Change
from ferbench.leaderboard.columns import text_columns
from ferbench.leaderboard.reported import Published
from ferbench.leaderboard.site import figures, runs, table_grids
from ferbench.leaderboard.site.addresses import link, row_address, table_address
from ferbench.leaderboard.site.citations import render_bibtex
from ferbench.leaderboard.site.orders import critical_difference
from ferbench.leaderboard.site.overview import gaps, heat_grid, tables_grid
from ferbench.leaderboard.summary import summary
from ferbench.leaderboard.tables import Board, Row, Table
from ferbench.records.cell import canonical_json
from ferbench.records.metrics import BY_KEY
from ferbench.render.escape import LONG, plain
from ferbench.render.html import page_templates
from ferbench.render.numbers import counted

ROOM = "ferbench.leaderboard.site"
CURVES_NOTE = "Measured on the test set, only for the oracle, never for selection."
Drawn = figures.Plot | None
PSEUDO_LABELS_NOTE = "Share of the used pseudo-labels that are right, by labels that no method sees."


@dataclass(frozen=True)
class RowPage:
    """A row, its cells, and the address of its page."""

    row: Row
    runs: Sequence[runs.Run]
    address: str


@dataclass(frozen=True)
class TablePage:
    """A table, its rows, and the address of its page."""

    table: Table
    heading: str
    rows: tuple[RowPage, ...]
    address: str


@dataclass(frozen=True)
class Pages:
    """Makes the pages of one edition."""

    board: Board
    tables: tuple[TablePage, ...]
    edition: str
    changes: tuple[Change, ...] | None
    """Changes since an earlier edition; None if there is no such edition."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file."""
        exports = _exports(self.board)
        yield from ((f"leaderboard{suffix}", content) for suffix, content in exports.items())
        digest = hashlib.sha256(exports[".json"]).hexdigest()
        yield "leaderboard.bib", render_bibtex(self.board, self.edition, digest)
        yield "static/board.css", self._render("board.css.j2", "")
        yield "static/board.js", files(ROOM).joinpath("static/board.js").read_bytes()
        yield "index.html", self._overview()
        yield "published.html", self._published()
        if self.changes is not None:
            yield "changes.html", self._render("changes.html.j2", "", changes=table_grids.changes_grid(self.changes))
        for page in self.tables:
            yield f"{page.address}.html", self._table(page)
            alone = Board((page.table,), (), records=sum(len(row.runs) for row in page.rows))
            yield from ((f"{page.address}{suffix}", content) for suffix, content in _exports(alone).items())
            for row in page.rows:
                yield f"{row.address}.html", self._row(page, row)
                for run in row.runs:
                    yield from ((f"records/{run.folder}/{name}", content) for name, content in run.files.items())

    def _overview(self) -> bytes:
        tables = [page.table for page in self.tables]
        links = [f"{page.address}.html" for page in self.tables]
        return self._render(
            "overview.html.j2",
            "",
            grids=(tables_grid(tables, links), heat_grid(tables, links)),
            gaps=tuple(gaps(self.board)),
            pages={page.table.key: page for page in self.tables},
            summary=summary(self.board),
        )

    def _published(self) -> bytes:
        values = [*self.board.not_reproduced, *(value for table in self.board.tables for value in table.published)]
        values.sort(key=_place_of(values))
        papers = []
        for origin, of_paper in groupby(values, attrgetter("block.origin")):
            blocks = [(block, list(own)) for block, own in groupby(of_paper, attrgetter("block"))]
            papers.append((origin, [(block, own, table_grids.published_grid(own)) for block, own in blocks]))
        return self._render("published.html.j2", "", papers=papers)

    def _table(self, page: TablePage) -> bytes:
        table = page.table
        links = [f"../{row.address}.html" for row in page.rows]
        return self._render(
            "table.html.j2",
            "../",
            page=page,
            table=table,
            grid=table_grids.main_grid(table, links),
            recall=table_grids.recall_grid(table, links),
            wins=table_grids.win_grid(table),
            plots=tuple(filter(None, _table_plots(page))),
        )

    def _row(self, page: TablePage, row: RowPage) -> bytes:
        metric = BY_KEY[page.table.key.headline]
        columns = [column for column in text_columns(page.table) if column.key != "title"]
        return self._render(
            "row.html.j2",
            "../../",
            page=page,
            table=page.table,
            row=row.row,
            runs=row.runs,
            metric=metric,
            command=runs.command(row.runs),
            weights_file=runs.WEIGHTS,
            columns=[(column.title, column.text(row.row, page.table)) for column in columns],
            recalls=zip(wording.recall_columns(page.table)[1:], wording.recall_cells(row.row)[1:], strict=False),
            confusion=table_grids.confusion_grid(row.runs, page.table.key.class_names),
            plots=tuple(filter(None, _row_plots(page, row))),
        )

    def _render(self, template: str, root: str, **content: object) -> bytes:
        page = _TEMPLATES.get_template(template)
        shared = {"root": root, "edition": self.edition, "board": self.board, "has_changes": self.changes is not None}
        return page.render(**content, **shared).encode("utf-8", "replace")


def make_pages(board: Board, cells: pd.DataFrame, edition: str, changes: Sequence[Change] | None) -> Pages:
    """The pages of a board and of the cells that its rows are made of."""
    found, headings = runs.runs_by_row(cells), wording.headings([table.key for table in board.tables])
    tables = []
    for table in board.tables:
        address = table_address(table.key)
        rows = (RowPage(row, found[table.key, row.name], row_address(address, row.name)) for row in table.rows)
        tables.append(TablePage(table, headings[table.key], tuple(rows), address))
    return Pages(board, tuple(tables), edition, None if changes is None else tuple(changes))


def _place_of(values: Sequence[Published]) -> Callable[[Published], tuple[object, ...]]:
    """Sort by paper, and then by origin and block in the order of their first values, so that none is split."""
    blocks = dict.fromkeys(value.block for value in values)
    origins = {origin: place for place, origin in enumerate(dict.fromkeys(block.origin for block in blocks))}
    places = {block: (wording.origin_heading(block.origin), origins[block.origin], n) for n, block in enumerate(blocks)}
    return lambda value: places[value.block]


def _exports(board: Board) -> dict[str, bytes]:
    """A board in all formats, by suffix; JSON without spaces because it is the largest."""
    found = {suffix: write(board) for suffix, write in FORMATS.items()}
    return {**found, ".json": canonical_json(json.loads(found[".json"])) + b"\n"}


def _table_plots(page: TablePage) -> Iterator[Drawn]:
    rows, metric = page.table.rows, BY_KEY[page.table.key.headline]
    yield figures.gain_against(page.table, lambda row: row.image_passes, "image passes, per cell")
    yield figures.gain_against(page.table, lambda row: row.minutes, "minutes, median of the cells")
    yield figures.seed_dots(rows, metric)
    by_row = [(row.row.title, row.runs) for row in page.rows[: figures.MOST_LINES]]
    yield _curves(f"Learning curves: {metric.title}, %", CURVES_NOTE, by_row, runs.evaluations(metric.key))
    yield _curves("Precision of pseudo-labels, %", PSEUDO_LABELS_NOTE, by_row, runs.precision)
    if found := critical_difference(rows):
        yield figures.rank_line(found)


def _row_plots(page: TablePage, row: RowPage) -> Iterator[Drawn]:
    metric = BY_KEY[page.table.key.headline]
    by_seed = [(f"seed {run.seed}", [run]) for run in row.runs]
    yield _curves(f"Learning curves: {metric.title}, %", CURVES_NOTE, by_seed, runs.evaluations(metric.key))
    yield _curves("Precision of pseudo-labels, %", PSEUDO_LABELS_NOTE, by_seed, runs.precision)
    used = "Share of unlabeled images whose pseudo-label is used."
    yield _curves("Used pseudo-labels, %", used, by_seed, runs.mask_rate)


def _curves(title: str, note: str, lines: Sequence[tuple[str, Sequence[runs.Run]]], value: runs.Value) -> Drawn:
    """A line for each name: the mean over its runs."""
    return figures.curves(title, note, [(name, runs.mean_points(own, value)) for name, own in lines])


_TEMPLATES = page_templates(ROOM)
_TEMPLATES.filters.update(sentence=partial(plain, longest=LONG), counted=counted, link=link)
_TEMPLATES.globals.update(wording=wording)
