"""Overview of a board: every method in every table, and the gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferbench.leaderboard.site.grids import LEVELS, Cell, Grid, Head, choices
from ferbench.leaderboard.tables import Board, Row, Table
from ferbench.records.cell import FULL
from ferbench.records.metrics import BY_KEY
from ferbench.records.rows import BASELINES
from ferbench.render.numbers import NONE, counted


@dataclass(frozen=True)
class Gap:
    """A table with gaps, and a sentence part for each kind of gap."""

    table: Table
    words: tuple[str, ...]


def heat_grid(tables: Sequence[Table], links: Sequence[str]) -> Grid:
    """Every method in every table; methods in most tables come first. Colours are comparable within a table only."""
    shorts = _short_headings(tables)
    heads = (
        Head("title", "Method", words=True),
        *(
            Head(f"t{index}", title, detail=detail, href=link)
            for index, ((title, detail), link) in enumerate(zip(shorts, links, strict=True))
        ),
    )
    by_name = [{row.name: row for row in table.rows} for table in tables]
    levels = [_levels(table) for table in tables]
    titles = _titles(tables)
    names = sorted(titles, key=lambda name: (-sum(name in rows for rows in by_name), titles[name].lower(), name))
    rows = tuple(
        (
            Cell(titles[name]),
            *(_cell(table, here.get(name), level) for table, here, level in zip(tables, by_name, levels, strict=True)),
        )
        for name in names
    )
    return Grid("methods", "Headline metric of each method in each table, in percent", heads, rows)


def tables_grid(tables: Sequence[Table], links: Sequence[str]) -> Grid:
    """The list of tables, with the columns in which they differ."""
    facts = [_facts(table) for table in tables]
    differing = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1] if facts else []
    heads = [
        Head("table", "Table", words=True),
        *(Head(_key(name), name, words=True, choices=choices([fact[name] for fact in facts])) for name in differing),
        Head("first", "First row", words=True),
        Head("size", "Rows"),
    ]
    rows = []
    for table, link, fact, (title, _) in zip(tables, links, facts, _short_headings(tables), strict=True):
        texts = (*(fact[name] for name in differing), _best(table), str(len(table.rows)))
        rows.append((Cell(title, link), *map(Cell, texts)))
    return Grid("tables", "Compare only rows of the same table", tuple(heads), tuple(rows))


def _facts(table: Table) -> dict[str, str]:
    """The facts that distinguish tables, by the names of their columns."""
    key = table.key
    return {
        "Dataset": key.dataset,
        "Classes": key.classes,
        "Labels": key.budget.title(),
        "Pool": key.pool or NONE,
        "Tested on": key.test_on or NONE,
        "Protocol": key.protocol,
        "Overrides": key.protocol_overrides or NONE,
        "Backbone": key.backbone,
        "Start": key.init[:19],
        "Precision": key.precision,
        "Data": key.data[:12],
        "Standard": "yes" if key.standard else "no",
        "Ordered by": BY_KEY[key.headline].title,
    }


def _key(name: str) -> str:
    return name.lower().replace(" ", "-")


def gaps(board: Board) -> Iterator[Gap]:
    """Gaps of standard tables: mandatory rows, methods that the board has for the protocol and dataset, and seeds.

    A table with all labels and no pool has no unlabeled images, so no method is missing there.
    """
    tables = [table for table in board.tables if table.key.standard]
    for table in tables:
        here = {row.name for row in table.rows}
        family = [other for other in tables if _family(other) == _family(table)]
        elsewhere = BASELINES if table.key.pool is not None else ()  # supervised rows use no pool
        absent = {name: title for name, title in _titles(family).items() if name not in {*here, *elsewhere}}
        missing = (
            () if table.key.budget == FULL and table.key.pool is None else sorted({*absent.values()} - {*table.missing})
        )
        incomplete = [
            f"{row.title} ({len(row.by_seed)} of {counted(row.most_seeds, 'seed')})"
            for row in table.rows
            if not row.complete
        ]
        lists = {"missing mandatory rows:": table.missing, "no row of": missing, "incomplete:": incomplete}
        words = tuple(f"{name} {', '.join(titles)}" for name, titles in lists.items() if titles)
        if words:
            yield Gap(table, words)


def _best(table: Table) -> str:
    """`FixMatch: 75.2`: the first row with its headline."""
    row = table.rows[0]
    if not row.complete:
        return NONE
    metric = BY_KEY[table.key.headline]
    return f"{row.title}: {metric.number(row.metrics[metric.key].mean)}"


def _short_headings(tables: Sequence[Table]) -> list[tuple[str, str]]:
    """For each table: its data and labels, and the other fields in which the tables differ."""
    fields = ("protocol", "classes", "backbone", "init", "precision")
    differing = [name for name in fields if len({getattr(table.key, name) for table in tables}) > 1]
    found = []
    for table in tables:
        key = table.key
        tested = f" tested on {key.test_on}" if key.test_on else ""
        pool = [f"pool {key.pool}"] if key.pool else []
        rest = [
            *pool,
            *(str(getattr(key, name))[:19] for name in differing),
            *([] if key.standard else ["not standard"]),
        ]
        found.append((f"{key.dataset}{tested}, {key.budget.title()}", ", ".join(rest)))
    return found


def _family(table: Table) -> tuple[object, ...]:
    key = table.key
    return key.protocol, key.dataset, key.classes, key.test_on


def _titles(tables: Sequence[Table]) -> dict[str, str]:
    titles: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            titles.setdefault(row.name, row.title)
    return titles


def _levels(table: Table) -> dict[str, int]:
    means = {row.name: row.metrics[table.key.headline].mean for row in table.rows if row.complete}
    low, high = min(means.values(), default=0.0), max(means.values(), default=0.0)
    return {name: round(LEVELS * (mean - low) / (high - low)) if high > low else LEVELS for name, mean in means.items()}


def _cell(table: Table, row: Row | None, levels: dict[str, int]) -> Cell:
    if row is None:
        return Cell(NONE)
    if not row.complete:
        return Cell("incomplete")
    metric = BY_KEY[table.key.headline]
    return Cell(metric.number(row.metrics[metric.key].mean), level=levels[row.name])
