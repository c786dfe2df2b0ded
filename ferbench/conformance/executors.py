"""Checks for executors. Most of them run ten tiny cells in processes, and are made only with `slow`."""

import functools
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ferbench.cells.request import RunRequest
from ferbench.conformance.framework import Checks, Doubt, Found
from ferbench.conformance.surroundings import Surroundings
from ferbench.conformance.toy_set import write_greys
from ferbench.contract.events import Event, Finished
from ferbench.contract.executor import INLINE, STATUSES, Executor, Job
from ferbench.discovery.registry import Entry
from ferbench.execution.plan import make_plan
from ferbench.records.cell import Cell
from ferbench.records.store import RunStore

CELLS, SLOTS = 10, 2
CRASHING, HANGING = 3, 6
"""Numbers of the job whose process aborts, and of the one whose steps never end."""
HANG_SECONDS = 4.0
SILENT_SECONDS, LIMIT_SECONDS = 200.0, 2000.0
"""The executor counts as hanging after this time without an event of any cell, and after this time in all. Ten cells
take less than 120 s on two idle cores, and have taken 400 s where each imports torch and others use the cores too."""

CHECKS = Checks()


@dataclass
class Ran:
    """What an executor reported about its jobs, and the records that they left."""

    jobs: Sequence[Job] = ()
    statuses: object = None
    events: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    records: list[str | None] = field(default_factory=list)
    """The status of each job's record; None if it left none."""
    raised: BaseException | None = None


@dataclass(frozen=True, eq=False)
class ExecutorCase:
    """An executor with its default options, and the run that its checks share."""

    entry: Entry
    executor: type[Executor]
    surroundings: Surroundings

    @functools.cached_property
    def ran(self) -> Ran:
        """The run of ten cells, of which one crashes and one hangs, in a temporary folder."""
        with TemporaryDirectory() as folder, _methods_that_end_badly(Path(folder) / "site"):
            ran = Ran(self._jobs(Path(folder)))
            number = {id(job): index for index, job in enumerate(ran.jobs)}
            thread = threading.Thread(target=self._run, args=(ran, number), daemon=True)
            thread.start()
            if problem := _why_it_hangs(thread, ran):
                return Ran(raised=AssertionError(problem))
            store = RunStore(Path(folder) / "runs")
            found = [store.read(Cell.model_validate(job.cell)) for job in ran.jobs]
            ran.records = [record.status if record else None for record in found]
            return ran

    def _run(self, ran: Ran, number: dict[int, int]) -> None:
        try:
            ran.statuses = self.executor().run(
                ran.jobs, lambda job, event: ran.events[number.get(id(job), -1)].append(event), SLOTS
            )
        except BaseException as error:
            ran.raised = error

    def _jobs(self, folder: Path) -> list[Job]:
        request = RunRequest(
            methods=("supervised@weak",),
            datasets=(str(write_greys(folder / "bars")),),
            ratios=("0.5",),
            seeds=range(CELLS),
            protocol="ratio-v1",
            backbones=("small-resnet/4",),
            overrides={"steps": 2, "evaluations": 1, "labeled_batch": 4, "image_size": 16, "weak.padding": 1},
            device="cpu",
            runs=folder / "runs",
        )
        jobs = [
            replace(planned.job, executor=self.entry.name) for planned in make_plan(request, self.surroundings.registry)
        ]
        jobs[CRASHING] = _as(jobs[CRASHING], "toy-crash")
        jobs[HANGING] = replace(_as(jobs[HANGING], "toy-hang"), timeout=HANG_SECONDS)
        return jobs


def case(entry: Entry, surroundings: Surroundings) -> ExecutorCase:
    """Return the case of a registered executor."""
    return ExecutorCase(entry, entry.load(), surroundings)


@CHECKS.add(
    "can be created and runs no jobs",
    protects="`--dry-run`: it creates the executor and checks its options",
    mend="subclass ferbench.contract.executor.Executor, start nothing in the constructor, and return [] for no jobs",
)
def nothing_to_do(case: ExecutorCase) -> str:
    assert isinstance(case.executor, type) and issubclass(case.executor, Executor), "it does not subclass Executor"
    for name, option in case.executor.Options.model_fields.items():
        assert option.description, f"option '{name}' has no description"
    statuses = case.executor().run([], lambda job, event: None, 1)
    assert list(statuses) == [], f"without jobs it returns {statuses!r}, but it must return []"
    return f"{len(case.executor.Options.model_fields)} options"


@CHECKS.add(
    "gives a status to every job, in order",
    protects="exit codes and `ferbench status`: a job without a status, or with that of another, may count as done",
    mend=f"return one status per job, in the order of the jobs; each must be one of {', '.join(STATUSES)}",
    slow=True,
)
def statuses(case: ExecutorCase) -> Found:
    if case.entry.name == INLINE:
        return _INLINE
    _came_back(case.ran)
    given = case.ran.statuses
    assert isinstance(given, list) and len(given) == CELLS, f"for {CELLS} jobs it returns {given!r}"
    assert set(given) <= set(STATUSES), f"{sorted(set(given) - set(STATUSES))[0]!r} is not a status"
    return ", ".join(given)


@CHECKS.add(
    "every job leaves a record with its status",
    protects="results: an 'ok' cell without a record is lost, and a crash without a record is retried forever",
    mend="run job.command() to its end, return the status of its Finished event, and call ferbench.crash_record if the "
    "process ends without one",
    slow=True,
)
def records(case: ExecutorCase) -> Found:
    if case.entry.name == INLINE:
        return _INLINE
    _came_back(case.ran)
    given = case.ran.statuses if isinstance(case.ran.statuses, list) else []
    for number, (status, record) in enumerate(zip(given, case.ran.records, strict=False)):
        assert record is not None, f"job {number} of {CELLS} is '{status}', but left no record"
        assert record == status, f"job {number} of {CELLS} is '{status}', but its record says '{record}'"
    return f"{len(case.ran.records)} records"


@CHECKS.add(
    "a crashing or hanging cell does not affect other cells",
    protects="sweeps: the other cells must go on",
    mend="run each job in its own process, respect job.timeout, and go on if a job ends badly",
    slow=True,
)
def isolation(case: ExecutorCase) -> Found:
    if case.entry.name == INLINE:
        return _INLINE
    _came_back(case.ran)
    given = case.ran.statuses if isinstance(case.ran.statuses, list) else []
    wanted = ["ok"] * CELLS
    wanted[CRASHING], wanted[HANGING] = "failed", "timeout"
    for number, (status, expected) in enumerate(zip(given, wanted, strict=False)):
        what = {CRASHING: " (its process aborts)", HANGING: f" (its timeout is {HANG_SECONDS:.0f} s)"}.get(number, "")
        assert status == expected, f"job {number} of {CELLS}{what} is '{status}', but it must be '{expected}'"
    return f"{CELLS - 2} ok"


@CHECKS.add(
    "passes on the events of every job",
    protects="progress bars, loggers and `ferbench status`",
    mend="pass on each event of read_events once, with its own job, and Finished last, also after crash_record",
    slow=True,
)
def events(case: ExecutorCase) -> Found:
    if case.entry.name == INLINE:
        return _INLINE
    _came_back(case.ran)
    assert not case.ran.events[-1], "it passes on events of a job that is not one of the given jobs"
    for number, (told, status) in enumerate(
        zip(map(case.ran.events.__getitem__, range(CELLS)), case.ran.records, strict=True)
    ):
        ends = [event for event in told if isinstance(event, Finished)]
        assert len(ends) == 1 and told[-1] is ends[0], (
            f"job {number}: {len(ends)} Finished events; there must be exactly one, the last event"
        )
        assert ends[0].status == status, f"job {number}: Finished says '{ends[0].status}', but its record '{status}'"
    return f"{sum(map(len, case.ran.events.values()))} events"


def _why_it_hangs(thread: threading.Thread, ran: Ran) -> str:
    """Wait until the executor has returned; return why it counts as hanging, or an empty text."""
    until = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < until:
        told = sum(map(len, list(ran.events.values())))
        thread.join(SILENT_SECONDS)
        if not thread.is_alive():
            return ""
        if sum(map(len, list(ran.events.values()))) == told:
            return f"no event of any of {CELLS} tiny cells for {SILENT_SECONDS:.0f} s"
    return f"{CELLS} tiny cells did not end within {LIMIT_SECONDS:.0f} s"


_INLINE = Doubt("it runs cells in this process, so one cell can affect the others; its records are never standard")


def _came_back(ran: Ran) -> None:
    if ran.raised is not None:
        raise AssertionError(f"run() ended with {type(ran.raised).__name__}: {ran.raised}")


def _as(job: Job, method: str) -> Job:
    cell = Cell.model_validate({**job.cell, "method": method, "variant": "described"})
    return replace(job, cell=cell.model_dump(mode="json"))


@contextmanager
def _methods_that_end_badly(site: Path) -> Iterator[None]:
    """Install `toy-crash` and `toy-hang` in a folder from which this process and new ones import, in this block."""
    info = site / "ferbench_toy_endings-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ferbench-toy-endings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ferbench]\ntoy-endings = ferbench.conformance.bad_endings\n")
    sys.path.insert(0, str(site))  # crash_record looks up the method in this process
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(site), before)))
    try:
        yield
    finally:
        sys.path.remove(str(site))
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
