"""Summary of a board in at most ten lines: records, leaders, ties, gaps and coverage."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ferbench.leaderboard.tables import Board, Row, Table
from ferbench.leaderboard.wording import gain_text, headings, interval_text, p_text
from ferbench.records.metrics import BY_KEY
from ferbench.render.numbers import counted

LEADERS = 6
"""Most lines about tables; with the other lines there are ten."""
REASONS = 3
"""Most reasons that are named for records without a table."""


def summary(board: Board) -> list[str]:
    """The lines of the summary, as plain text."""
    standard = [table for table in board.tables if table.key.standard]
    return [records_line(board), *_leaders(board, standard), *_neighbours(standard), *_coverage(standard)]


def records_line(board: Board) -> str:
    """How many records there are, and why some are in no table."""
    out, failed = sum(each.records for each in board.left_out), len(board.failures)
    where = (
        f"{board.records - out - failed} in {counted(len(board.tables), 'table')}"
        if board.tables
        else "none in a table"
    )
    parts = [f"{counted(board.records, 'record')}: {where}"]
    if failed:
        parts.append(f"{failed} without a result")
    if out:
        reasons = [f"{each.records}: {each.reason}" for each in board.left_out[:REASONS]]
        reasons += ["and others"] if len(board.left_out) > REASONS else []
        parts.append(f"{out} not standard, shown only with --include-nonstandard ({'; '.join(reasons)})")
    if board.broken:
        parts.append(f"and {board.broken} more broken and omitted")
    return ", ".join(parts) + "."


def _leaders(board: Board, tables: Sequence[Table]) -> Iterator[str]:
    names = headings([table.key for table in board.tables])
    led = [table for table in tables if table.rows[0].complete]
    by_size = sorted(led, key=lambda table: -sum(row.complete for row in table.rows))
    named = {table.key for table in (led if len(led) <= LEADERS else by_size[: LEADERS - 1])}
    for table in led:
        if table.key in named:
            yield f"{names[table.key]}: {_leader(table)}."
    if len(led) > len(named):
        yield f"Not listed here: {counted(len(led) - len(named), 'more table')}."


def _leader(table: Table) -> str:
    first, metric = table.rows[0], BY_KEY[table.key.headline]
    others = sum(row.complete for row in table.rows) - 1
    value = f"{metric.text(first.metrics[metric.key].mean)} {metric.title}"
    interval = interval_text(metric, first.metrics[metric.key])
    parts = [f"{first.title} {'leads with' if others else 'has'} {value} ({interval})"]
    if first.tied_with:
        parts.append(f"tied with {_listed([row.title for row in table.rows if row.name in first.tied_with])}")
    elif others and first.tied_with is None:
        parts.append(f"{counted(table.seeds, 'seed')}, too few to test differences between rows")
    elif others:
        parts.append("not tied with any other row")
    if first.gain is not None:
        p = "" if first.gain_p is None else f", p {p_text(first.gain_p)}"
        parts.append(f"gain {gain_text(metric, first.gain)}{p}")
    return "; ".join(parts)


def _neighbours(tables: Sequence[Table]) -> Iterator[str]:
    pairs = [pair for table in tables for pair in pairwise(table.rows) if _compared(pair)]
    tied = sum(two.name in (one.tied_with or ()) for one, two in pairs)
    seen = sorted(table.smallest_difference for table in tables if table.smallest_difference is not None)
    lines = [f"Tied: {tied} of {counted(len(pairs), 'pair')} of neighbouring rows."] if pairs else []
    if seen:
        low, high = f"{100 * seen[0]:.1f}", f"{100 * seen[-1]:.1f}"
        most = low if low == high else f"{low} to {high}"
        lines.append(f"A true difference of {most} points, depending on the table, is detected with a power of 80 %.")
    if lines:
        yield " ".join(lines)


def _compared(pair: tuple[Row, Row]) -> bool:
    return all(row.complete and row.tied_with is not None for row in pair)


def _coverage(tables: Sequence[Table]) -> Iterator[str]:
    keys = [table.key for table in tables]
    if not keys:
        return
    rows = {row.name for table in tables for row in table.rows}
    budgets = sorted({key.budget for key in keys}, key=lambda budget: budget.order())
    yield (
        f"Covered: {_listed(sorted({key.dataset for key in keys}))}; {_listed([each.title() for each in budgets])}; "
        f"{_listed(sorted({key.backbone for key in keys}))}; {counted(len(rows), 'row')} by name."
    )
    missing = [f"{_listed(table.missing)}" for table in tables if table.missing]
    incomplete = sum(not row.complete for table in tables for row in table.rows)
    gaps = [f"{missing.count(what)} without {what}" for what in dict.fromkeys(missing)]
    gaps = [f"of {counted(len(tables), 'table')}, {', '.join(gaps)}"] if gaps else []
    gaps += [f"{counted(incomplete, 'row')} without all seeds"] if incomplete else []
    if gaps:
        yield f"Gaps: {'; '.join(gaps)}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
