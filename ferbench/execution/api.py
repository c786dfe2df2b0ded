"""The Python API: `ferbench.run(method="fixmatch", ratio=0.05)` returns records."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished, Step
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.data.sources import DEFAULT_DATASET
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import InterruptedRun, VerificationError
from ferbench.execution.executors import make_executor, run_jobs
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.records.cell import Cell, digest
from ferbench.records.frame import Records
from ferbench.records.store import RunStore
from ferbench.render.numbers import counted


def run(
    *,
    method: str | Iterable[str],
    ratio: Any = (),
    labels: Any = (),
    per_class: Any = (),
    dataset: str | Iterable[str] = DEFAULT_DATASET,
    backbone: str | Iterable[str] = (),
    seed: int | Iterable[int] = 0,
    test_on: str | Iterable[str] = (),
    jobs: int | None = None,
    executor: str = "local",
    executor_options: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    **options: Any,
) -> Records:
    """Run every cell of the grid that has no result yet and return the records of all, in the grid's order.

    They are a list, which a notebook shows as a table and `.frame()` turns into what `ferbench.load` gives. On a
    terminal and in a notebook a bar shows how far the cells are.

    With `test_on` the record of each cell is followed by those of its tests on other sets. The options are those of
    `ferbench run`; `overrides` are those of --set, `executor_options` those of --executor-option. Cells that failed
    are in the list with their reason; a cell that left no record is not. Raises FerbenchError as the command line
    would print it.
    """
    request = RunRequest(
        methods=_several(method),
        datasets=_several(dataset),
        ratios=[str(value) for value in _several(ratio)],
        counts=_several(labels),
        per_class=_several(per_class),
        backbones=_several(backbone),
        seeds=_several(seed),
        test_on=_several(test_on),
        runs=Path(runs),
        overrides=overrides or {},
        executor=executor,
        executor_options=executor_options or {},
        **options,
    )
    registry = load_registry()
    plan = make_plan(request, registry)
    chosen = make_executor(registry, executor, request.executor_options)
    slots = chosen.places([item.job for item in plan], jobs)
    with _bar(sum(not item.cached for item in plan)) as progress:
        statuses = execute(plan, chosen, slots, progress, registry)
    if "interrupted" in statuses:
        raise InterruptedRun("interrupted; make the same call again to go on")
    store = RunStore(request.runs)
    found = [store.read(item.cell) for item in plan]
    return Records(record for record in found if record is not None)


def execute(
    plan: Iterable[PlannedCell],
    executor: Executor,
    slots: int,
    progress: JobListener,
    registry: Registry,
    retries: int = 0,
) -> list[str]:
    """Run the cells of a plan that are not cached; returns their statuses in order.

    What tests a model on another set runs once all models are trained, and not after an interruption. Cells that fail
    are run again up to `retries` times; those that diverge or use up their time would do so again. Raises
    ExecutorError where the executor fails, or says what is not so.
    """
    jobs = [item.job for item in plan if not item.cached]
    statuses = ["missing"] * len(jobs)
    told = _with_hooks(progress, registry)
    for tests in (False, True):
        part = [index for index, job in enumerate(jobs) if (job.test_on is not None) == tests]
        for _ in range(retries + 1):
            if not part or "interrupted" in statuses:
                break
            for index, status in zip(part, run_jobs(executor, [jobs[i] for i in part], told, slots), strict=True):
                statuses[index] = status
            part = [index for index in part if statuses[index] in ("failed", "missing")]
    return statuses


def _with_hooks(progress: JobListener, registry: Registry) -> JobListener:
    """A listener that tells plugins, too, of each record that is there."""

    def listen(job: Job, event: Event) -> None:
        progress(job, event)
        if isinstance(event, Finished):
            cell = Cell.model_validate(dict(job.cell))
            with suppress(VerificationError):
                if (record := RunStore(job.runs).read(cell)) is not None:
                    registry.notify("ferbench_run_finished", cell=cell, record=record)

    return listen


@contextmanager
def _bar(cells: int) -> Iterator[JobListener]:
    """One bar for all cells, where somebody looks: on a terminal or in a notebook."""
    console = Console(stderr=True)
    if not cells or not (console.is_terminal or console.is_jupyter):
        yield lambda job, event: None
        return
    done: dict[str, float] = {}
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(counted(cells, "cell"), total=cells)

        def listen(job: Job, event: Event) -> None:
            if isinstance(event, Step | Finished):
                done[digest(dict(job.cell))] = event.step / event.steps if isinstance(event, Step) else 1.0
                progress.update(task, completed=sum(done.values()))

        yield listen


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
