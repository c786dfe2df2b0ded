"""Executors that lie about their jobs are caught; what the shipped ones do with ten cells is in the process lane."""

import pytest

from ferbench.conformance import executors
from ferbench.conformance.framework import CheckResult
from ferbench.conformance.surroundings import Surroundings
from ferbench.discovery.loader import builtin_registry
from ferbench.discovery.registry import Entry

STATUSES, RECORDS = "gives a status to every job, in order", "every job leaves a record with its status"


def results(name: str, target: str) -> dict[str, CheckResult]:
    entry = Entry("executors", name, target, "", "", 1, "ferbench-part", "1.0")
    case = executors.case(entry, Surroundings(builtin_registry()))
    return {check.name: check.run(check.name, case) for check in executors.CHECKS}


@pytest.mark.slow
def test_ok_without_a_record_is_caught() -> None:
    found = results("liar", "tests.support.broken_parts:Liar")
    assert found[STATUSES].ok
    assert not found[RECORDS].ok and "job 0 of 10 is 'ok', but left no record" in found[RECORDS].detail


@pytest.mark.slow
def test_too_few_statuses_are_caught() -> None:
    found = results("short", "tests.support.broken_parts:Short")
    assert not found[STATUSES].ok and "for 10 jobs it returns []" in found[STATUSES].detail


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("Mute", "no event of any"), ("Endless", "did not end within 1 s")])
def test_one_that_never_returns_is_caught(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "SILENT_SECONDS", 0.4)
    monkeypatch.setattr(executors, "LIMIT_SECONDS", 1.0)
    found = results("hangs", f"tests.support.broken_parts:{name}")
    assert not found[STATUSES].ok and said in found[STATUSES].detail


@pytest.mark.storm
@pytest.mark.process
@pytest.mark.slow
def test_the_local_executor_passes() -> None:
    assert [
        str(found) for found in results("local", "ferbench.execution.local:LocalExecutor").values() if not found.ok
    ] == []
