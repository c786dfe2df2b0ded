"""The inline executor: cells in this process, and what it makes is never standard."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferbench.builtin import protocols
from ferbench.cells.request import RunRequest
from ferbench.contract.executor import Job
from ferbench.contract.protocol import Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.inline import InlineExecutor
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.run_cell import run_cell
from ferbench.execution.stopping import StopRequests
from tests.support.refusals import refused

RECIPE = Recipe(
    backbone="small-resnet/4", image_size=16, steps=2, labeled_batch=4, unlabeled_batch=4, learning_rate=1e-3
)
SHORT_V1 = protocols.RATIO_V1.model_copy(update={"name": "short-v1", "recipes": {"default": RECIPE}})
"""A protocol so short that a standard cell of it takes no time."""


@pytest.fixture
def short(registry: Registry) -> Registry:
    """What is installed, and `short-v1`."""
    known = registry.entries["protocols"]
    entry = replace(known["ratio-v1"], name="short-v1", target=f"{__name__}:SHORT_V1")
    return replace(registry, entries={**registry.entries, "protocols": {**known, "short-v1": entry}})


def plan(registry: Registry, patterns: Path, runs: Path, executor: str, **options: Any) -> PlannedCell:
    request = RunRequest(
        methods=["supervised"], protocol="short-v1", datasets=[str(patterns)], ratios=["0.1"], seeds=[0],
        runs=runs, device="cpu", executor=executor, **options,
    )  # fmt: skip
    (item,) = make_plan(request, registry)
    return item


def run(job: Job, registry: Registry) -> Any:
    return run_cell(job, registry, lambda event: None, StopRequests())


def test_only_another_executor_makes_the_same_cell_standard(short: Registry, patterns: Path, tmp_path: Path) -> None:
    first = run(plan(short, patterns, tmp_path, "inline").job, short)
    assert (first.measured.executor, first.standard, first.cell.changes) == ("inline", False, "")
    assert plan(short, patterns, tmp_path, "inline").cached
    again = plan(short, patterns, tmp_path, "local")
    assert not again.cached
    second = run(again.job, short)
    assert (second.measured.executor, second.standard) == ("local", True)
    assert second.result == first.result
    assert plan(short, patterns, tmp_path, "inline").cached


def test_it_has_one_process(registry: Registry, short: Registry, patterns: Path, tmp_path: Path) -> None:
    job = replace(plan(short, patterns, tmp_path, "inline").job, processes=2)
    with refused(UsageError, "--processes 2", "--executor local"):
        InlineExecutor().run([job], lambda job, event: None, 1)


def test_an_unknown_executor_is_refused_with_the_nearest(short: Registry, patterns: Path, tmp_path: Path) -> None:
    with refused(UsageError, "'inlnie'", "did you mean 'inline'"):
        plan(short, patterns, tmp_path, "inlnie")
    assert not list(tmp_path.iterdir())
