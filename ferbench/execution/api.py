"""The Python API: `ferbench.run(method="fixmatch", ratio=0.05)` returns records."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
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
from ferbench.records.files import remove_leftovers
from ferbench.records.frame import Records
from ferbench.records.plans import PLANS, Plan, write_plan
from ferbench.records.store import MARKER, RunStore
from ferbench.render.numbers import counted

LONGEST_WRITING = 3600.0
"""Seconds after which nobody still writes a temporary file of the runs folder."""


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
    """Run every cell of the grid that has no result yet, and return the records of all cells in the grid's order.

    The result is a list. A notebook shows it as a table, and `.frame()` returns it as a frame like that of
    `ferbench.load`. A bar shows the progress on a terminal and in a notebook.

    With `test_on`, the record of each cell is followed by those of its tests on other datasets. The options are those
    of `ferbench run`; `overrides` are those of --set, `executor_options` those of --executor-option. Cells that failed
    are in the list with their reason. A cell that left no record is not in the list. Raises FerbenchError with the
    message that the command line would print.
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
    tidy(plan)
    missing = [item for item in plan if not item.cached]
    withdraw_cancellations(missing)
    keep_plan(missing, slots, command=())
    with _bar(len(missing)) as progress:
        statuses = execute(plan, chosen, slots, progress, registry)
    if "interrupted" in statuses:
        raise InterruptedRun("interrupted; make the same call again to continue")
    store = RunStore(request.runs)
    found = [store.read(item.cell) for item in plan]
    return Records(record for record in found if record is not None)


def tidy(plan: Iterable[PlannedCell]) -> None:
    """Remove what killed processes left next to results and in the runs folder; planning itself writes nothing."""
    cells = list(plan)
    for root in {item.job.runs for item in cells}:
        remove_leftovers(root, MARKER, LONGEST_WRITING)
        remove_leftovers(root / PLANS, older_than=LONGEST_WRITING)
    for item in cells:
        if item.cached:
            RunStore(item.job.runs).tidy(item.cell)


def withdraw_cancellations(missing: Iterable[PlannedCell]) -> None:
    """Let cells run that somebody has cancelled earlier: they are requested again."""
    for item in missing:
        RunStore(item.job.runs).allow(item.cell)


def keep_plan(missing: Sequence[PlannedCell], slots: int, command: tuple[str, ...]) -> None:
    """Store the plan in the runs folder, so that everybody sees which cells wait."""
    if missing:
        now, job = datetime.now(UTC).isoformat(timespec="seconds"), missing[0].job
        cells = tuple(item.cell for item in missing)
        write_plan(job.runs, Plan(command=command, executor=job.executor, slots=slots, made_at=now, cells=cells))


def execute(
    plan: Iterable[PlannedCell],
    executor: Executor,
    slots: int,
    progress: JobListener,
    registry: Registry,
    retries: int = 0,
) -> list[str]:
    """Run the cells of a plan that are not cached; returns their statuses in order.

    Tests on other datasets run after all models are trained. They do not run if the training of their model was
    interrupted, or if cells were only submitted. Failed cells are run again up to `retries` times; cells that diverged
    or timed out are not, because they would do so again. Raises ExecutorError if the executor fails or reports
    something false.
    """
    jobs = [item.job for item in plan if not item.cached]
    statuses = ["missing"] * len(jobs)
    told = _with_hooks(progress, registry)
    for tests in (False, True):
        part = [index for index, job in enumerate(jobs) if (job.test_on is not None) == tests]
        interrupted = {_model(job) for job, status in zip(jobs, statuses, strict=True) if status == "interrupted"}
        part = [index for index in part if _model(jobs[index]) not in interrupted]
        for _ in range(retries + 1):
            if not part:
                break
            for index, status in zip(part, run_jobs(executor, [jobs[i] for i in part], told, slots), strict=True):
                statuses[index] = status
            part = [index for index in part if statuses[index] in ("failed", "missing")]
        if any(statuses[index] == "missing" for index in part):  # their models may be trained after this call
            break
    return statuses


def _model(job: Job) -> str:
    """What identifies the model that a job trains or tests."""
    return digest({**job.cell, "test_on": None})


def _with_hooks(progress: JobListener, registry: Registry) -> JobListener:
    """Return a listener that also notifies plugins of each finished record."""

    def listen(job: Job, event: Event) -> None:
        progress(job, event)
        if isinstance(event, Finished):
            cell, store = Cell.model_validate(dict(job.cell)), RunStore(job.runs)
            with suppress(VerificationError):
                if (record := store.read(cell)) is not None:
                    registry.notify("ferbench_run_finished", cell=cell, folder=store.folder(cell), record=record)

    return listen


@contextmanager
def _bar(cells: int) -> Iterator[JobListener]:
    """One progress bar for all cells, if somebody can see it: on a terminal or in a notebook."""
    console = Console(stderr=True)
    # In a notebook rich draws with ipywidgets. If these are not installed, it warns at every update.
    shown = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
    if not cells or not shown:
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
