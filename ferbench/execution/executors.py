"""Makes an executor by its name. Its options are checked before it runs, and its answers about jobs afterwards."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ferbench.contract.executor import STATUSES, Executor, Job, JobListener
from ferbench.discovery.foreign_code import ForeignError, foreign_code
from ferbench.discovery.registry import Registry
from ferbench.errors import ExecutorError, FerbenchError, UsageError, listed, suggestion
from ferbench.records.cell import Cell
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.schema import first_problem
from ferbench.records.store import RunStore


def make_executor(registry: Registry, name: str, options: Mapping[str, Any]) -> Executor:
    """The executor with its options; raises UsageError for an unknown name, option or value."""
    chosen: type[Executor] = registry.load("executors", name)
    known = chosen.Options.model_fields
    passes_on = chosen.Options.model_config.get("extra") == "allow"  # then the executor itself checks them
    for key in options:
        if key not in known and not passes_on:
            raise UsageError(
                f"--executor-option {key}: executor '{name}' has no such option{suggestion(key, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    try:
        checked = chosen.Options.model_validate(dict(options))
    except ValidationError as error:
        raise UsageError(f"--executor-option {first_problem(error)} (executor '{name}')") from None
    return chosen(checked)


def run_jobs(executor: Executor, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
    """Run the jobs and return how each ended. Raises ExecutorError if the executor fails or gives a false answer."""
    name = f"executor '{jobs[0].executor}'"
    try:
        with foreign_code(FerbenchError, KeyboardInterrupt):
            statuses = executor.run(jobs, progress, slots)
    except ForeignError as error:
        raise ExecutorError(
            f"{name} failed ({error}); the same command continues from the existing records, and "
            "`ferbench -v ...` shows the traceback"
        ) from error.__cause__
    if not isinstance(statuses, list | tuple) or len(statuses) != len(jobs):
        said = f"{len(statuses)} statuses" if isinstance(statuses, list | tuple) else repr(statuses)
        raise ExecutorError(
            f"{name} returned {said} for {len(jobs)} jobs; it must return a status for each job, in order"
        )
    for status in statuses:
        if status not in STATUSES:
            raise ExecutorError(f"{name} returned the status {status!r}; it must be one of {', '.join(STATUSES)}")
    untrue = [_folder(job) for job, status in zip(jobs, statuses, strict=True) if status == "ok" and not _is_done(job)]
    if untrue:
        raise ExecutorError(f"{name} returned 'ok' for cells that have no record with a result:{listed(untrue)}")
    return list(statuses)


def _is_done(job: Job) -> bool:
    cell, store = Cell.model_validate(dict(job.cell)), RunStore(job.runs)
    record = store.read(cell) if store.is_done(cell) else None
    return record is not None and record.engine_version == ENGINE_VERSION


def _folder(job: Job) -> str:
    return str(RunStore(job.runs).folder(Cell.model_validate(dict(job.cell))))
