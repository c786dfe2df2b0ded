"""Executors that lie, fail or are misconfigured cost an error that names them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from ferbench.contract.events import Finished
from ferbench.contract.executor import Executor, ExecutorOptions, Job
from ferbench.discovery.registry import Registry
from ferbench.errors import ExecutorError, UsageError
from ferbench.execution.executors import make_executor, run_jobs
from ferbench.execution.inline import InlineExecutor
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.store import RunStore
from tests.support.refusals import refused
from tests.unit.records.factory import make_cell, write_record


class Patient(Executor):
    class Options(ExecutorOptions):
        partition: str
        retries: int = Field(0, ge=0, description="how often a lost job is started again")

    def run(self, jobs, progress, slots):  # type: ignore[no-untyped-def]
        raise NotImplementedError


@pytest.fixture
def patient(registry: Registry) -> Registry:
    known = registry.entries["executors"]
    entry = replace(known["local"], name="patient", target=f"{__name__}:Patient")
    return replace(registry, entries={**registry.entries, "executors": {**known, "patient": entry}})


def test_options_are_typed(patient: Registry) -> None:
    made = make_executor(patient, "patient", {"partition": 7, "retries": "3"})
    assert made.options == Patient.Options(partition="7", retries=3)
    assert isinstance(make_executor(patient, "inline", {}), InlineExecutor)


@pytest.mark.parametrize(
    ("name", "options", "facts"),
    [
        ("patient", {"retreis": 1}, ["--executor-option retreis", "'patient'", "did you mean 'retries'", "partition"]),
        ("patient", {"partition": "a", "retries": -1}, ["--executor-option retries", "greater", "'patient'"]),
        ("patient", {}, ["--executor-option partition", "required"]),
        ("inline", {"slots": 1}, ["--executor-option slots", "'inline'", "it has none"]),
        ("patiant", {}, ["'patiant'", "did you mean 'patient'"]),
    ],
)
def test_what_is_no_option_is_refused(patient: Registry, name: str, options: Any, facts: list[str]) -> None:
    with refused(UsageError, *facts):
        make_executor(patient, name, options)


def saying(answer: Callable[[], Any]) -> Executor:
    class Says(Executor):
        def run(self, jobs, progress, slots):  # type: ignore[no-untyped-def]
            return answer()

    return Says()


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two cells, the first of which has a record."""
    cells = [make_cell(seed=seed) for seed in (0, 1)]
    write_record(tmp_path, cells[0])
    return [
        Job(cell.model_dump(mode="json"), {}, "synthfaces", None, None, tmp_path, "cpu", 1, executor="sly")
        for cell in cells
    ]


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (["ok", "ok"], ["'ok'", "no record", "seed1"]),
        (["ok"], ["1 statuses for 2"]),
        (["ok", "failed", "failed"], ["3 statuses for 2"]),
        (None, ["None for 2"]),
        ("ok", ["'ok' for 2"]),
        (["ok", "done"], ["'done'", "one of ok, failed"]),
        (["ok", None], ["None", "one of ok, failed"]),
        (["ok", Finished(status="ok")], ["Finished", "one of ok, failed"]),
    ],
)
def test_what_is_not_so_is_an_error(jobs: list[Job], answer: Any, facts: list[str]) -> None:
    with refused(ExecutorError, "executor 'sly'", *facts):
        run_jobs(saying(lambda: answer), jobs, lambda job, event: None, 1)


@pytest.mark.parametrize("error", [ZeroDivisionError("no slots"), SystemExit(3)])
def test_an_executor_that_raises_is_named(jobs: list[Job], error: BaseException) -> None:
    def answer() -> None:
        raise error

    with refused(ExecutorError, "executor 'sly'", type(error).__name__, str(error)):
        run_jobs(saying(answer), jobs, lambda job, event: None, 1)


@pytest.mark.parametrize("error", [UsageError("no such queue"), KeyboardInterrupt()])
def test_what_an_executor_tells_a_person_is_passed_on(jobs: list[Job], error: BaseException) -> None:
    def answer() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_jobs(saying(answer), jobs, lambda job, event: None, 1)
    assert caught.value is error


def test_the_truth_is_returned(jobs: list[Job], tmp_path: Path) -> None:
    assert run_jobs(saying(lambda: ("ok", "missing")), jobs, lambda job, event: None, 1) == ["ok", "missing"]
    write_record(tmp_path, make_cell(seed=1), engine_version=ENGINE_VERSION + 1)
    assert RunStore(tmp_path).is_done(make_cell(seed=1)), "for another version, which this one does not take"
    with refused(ExecutorError, "no record", "seed1"):
        run_jobs(saying(lambda: ["ok", "ok"]), jobs, lambda job, event: None, 1)
