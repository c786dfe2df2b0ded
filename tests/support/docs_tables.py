"""Tables of documentation that are written from the code: `python -m tests.support.docs_tables` writes them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ferbench.leaderboard.reported import read_paper
from ferbench.leaderboard.wording import how_to_measure
from ferbench.records.frame import COLUMNS
from ferbench.records.metrics import METRICS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results.md"
REPORTED = ROOT / "leaderboard" / "reported" / "README.md"


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


def commands() -> list[str]:
    """A row for each dataset of each table of each paper."""
    rows = []
    for path in sorted(REPORTED.parent.glob("*.toml")):
        values = list(read_paper(path).values())
        for block in dict.fromkeys(value.block for value in values):
            for does, command in how_to_measure([value for value in values if value.block == block]):
                source = f"{block.origin.citation}: {block.origin.source}"
                rows.append((source, f"{block.dataset}, {block.classes} classes", f"{does}: `{command}`"))
    return _table(("numbers of", "on", "command"), rows)


TABLES: Mapping[Path, Mapping[str, Callable[[], list[str]]]] = {
    RESULTS: {"columns": columns, "metrics": metrics},
    REPORTED: {"commands": commands},
}


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]


def updated(path: Path) -> str:
    """A page with its tables as the code has them."""
    page = path.read_text("utf-8")
    for name, lines in TABLES[path].items():
        block = "\n".join([f"<!-- {name} -->", *lines(), "<!-- end -->"])
        page, count = re.subn(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, block=block: block, page, flags=re.DOTALL)
        assert count == 1, f"{path} has no place for the {name}"
    return page


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(updated(page), "utf-8")
