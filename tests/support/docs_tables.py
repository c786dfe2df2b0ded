"""The tables of the documentation that are written from the code: `python -m tests.support.docs_tables` writes them."""

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from ferbench.contract.counting import counting
from ferbench.contract.method import Method
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Entry
from ferbench.leaderboard.reported import read_paper
from ferbench.leaderboard.wording import how_to_measure
from ferbench.records.frame import COLUMNS
from ferbench.records.metrics import METRICS
from ferbench.training.loop import Training
from tests.support import first_look_tables
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run

ROOT = Path(__file__).parents[2]
REGISTRY = load_registry()
LABELED, UNLABELED = 32, 64
"""Batches that the images of a step are counted with: those of the built-in faces' recipe."""
REPORTED = ROOT / "leaderboard" / "reported"


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


def methods(distribution: str = "") -> list[str]:
    """Every registered method, or those of one distribution, in the order of registration."""
    entries = [e for e in REGISTRY.entries["methods"].values() if distribution in ("", e.distribution)]
    titles = ("method", "paper", "idea", "needs", "images", "compiles", "lines", *([] if distribution else ["from"]))
    return _table(titles, [(*_method(e), *([] if distribution else [f"`{e.distribution}`"])) for e in entries])


@cache
def _method(entry: Entry) -> tuple[str, ...]:
    method: type[Method] = entry.load()
    with tempfile.TemporaryDirectory() as folder:
        batches = {"labeled_batch": LABELED, "unlabeled_batch": UNLABELED}
        training = toy_run(REGISTRY, entry.name, Path(folder), fields=batches)
        needs = ", ".join(_needs(training))
        with counting(training.progress):
            Stepper(training, longest_stage(training)).step(0)
    lines = len(Path(str(sys.modules[method.__module__].__file__)).read_text("utf-8").splitlines())
    images, compiles = training.progress.forward_images, "no" if method.runs_eagerly else "yes"
    return (f"`{entry.name}`", entry.paper, entry.summary, needs, f"{images:,}", compiles, str(lines))


def longest_stage(training: Training) -> int:
    """The number of the stage with the most steps, pre-training aside; of equals the last."""
    own = [planned for planned in training.stages if not planned.stage.pretraining]
    return max(own, key=lambda planned: (planned.steps, planned.number)).number


def _needs(training: Training) -> Iterator[str]:
    """What a method asks for, in words."""
    method, stages = training.run.method, [planned.stage for planned in training.stages]
    main = stages[longest_stage(training)]
    views = main.views
    yield f"{len(views.labeled)} + {len(views.unlabeled or {})} views"
    if len(stages) > 1:
        yield f"{len(stages)} stages"
    if main.step is not None:
        yield "steps of its own"
    yield from (f"network `{name}`" for name in method.networks)
    yield from sorted({"pool_index": "index", "init": "initial weights"}.get(need, need) for need in method.requires)
    if method.joint_forward is not None:
        yield "joint forward" if method.joint_forward else "separate forwards"


def commands() -> list[str]:
    """A row for each dataset of each table of each paper."""
    rows = []
    for path in sorted(REPORTED.glob("*.toml")):
        values = list(read_paper(path).values())
        for block in dict.fromkeys(value.block for value in values):
            for does, command in how_to_measure([value for value in values if value.block == block]):
                source = f"{block.origin.citation}: {block.origin.source}"
                rows.append((source, f"{block.dataset}, {block.classes} classes", f"{does}: `{command}`"))
    return _table(("numbers of", "on", "command"), rows)


def first_look(suite: str) -> list[str]:
    """A suite of the first look at the baselines."""
    titles = ("row", "accuracy", "from the better supervised row", "detectable", "used", "right")
    return _table(titles, first_look_tables.first_look(suite))


def experiments() -> list[str]:
    """What the methods below labels alone do under other conditions."""
    return _table(("row", *first_look_tables.WAYS), first_look_tables.experiments())


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]


PAGES: Mapping[str, Mapping[str, Callable[[], list[str]]]] = {
    "docs/results.md": {"columns": columns, "metrics": metrics},
    "leaderboard/reported/README.md": {"commands": commands},
    "docs/methods.md": {"methods": methods},
    "plugins/ferbench-ssl-baselines/README.md": {
        "methods": lambda: methods("ferbench-ssl-baselines"),
        "from-scratch": lambda: first_look("from-scratch"),
        "from-identities": lambda: first_look("from-identities"),
        "experiments": experiments,
    },
}


def updated(page: str, text: str) -> str:
    """The text of a page with its tables as the code has them."""
    for name, table in PAGES[page].items():
        block = "\n".join([f"<!-- {name} -->", *table(), "<!-- end -->"])
        text, count = re.subn(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
        assert count == 1, f"{page} has no place for the {name}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(updated(page, path.read_text("utf-8")), "utf-8")
