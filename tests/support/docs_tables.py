"""The tables of docs/results.md that are written from the code: `python -m tests.support.docs_tables` writes them."""

import re
from collections.abc import Sequence
from pathlib import Path

from ferbench.records.frame import COLUMNS
from ferbench.records.metrics import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def columns() -> list[str]:
    rows = [(f"`{column.name}`", column.dtype, column.description) for column in COLUMNS]
    return _table(("column", "type", "meaning"), rows)


def metrics() -> list[str]:
    rows = [
        (
            f"`{metric.key}`",
            metric.title,
            metric.description,
            f"{metric.low:g} to {metric.high:g}",
            "lower" if metric.lower_is_better else "higher",
        )
        for metric in METRICS
    ]
    return _table(("key", "name", "meaning", "range", "better"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]


def updated(page: str) -> str:
    """The page with its tables as the code has them."""
    for name, lines in (("columns", columns()), ("metrics", metrics())):
        block = "\n".join([f"<!-- {name} -->", *lines, "<!-- end -->"])
        page, count = re.subn(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, block=block: block, page, flags=re.DOTALL)
        assert count == 1, f"docs/results.md has no place for the {name}"
    return page


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
