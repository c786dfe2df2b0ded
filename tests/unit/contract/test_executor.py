"""What an executor is given of a cell."""

import json
import sys
from pathlib import Path
from typing import get_args

import pytest

from ferbench.contract.executor import STATUSES, Job, module_command
from ferbench.records.schema import Status
from tests.unit.records.factory import make_cell

JOB = Job(make_cell().model_dump(mode="json"), {}, "synthfaces", None, None, Path("my runs"), "cuda", 2, timeout=9.5)


def test_a_job_survives_json() -> None:
    assert Job.from_json(json.loads(json.dumps(JOB.to_json()))) == JOB


def test_the_command_of_a_job_is_a_worker_of_this_python() -> None:
    *head, job, option, events = JOB.command(Path("a b/events"))
    assert [each for each in head if each != "-P"] == [sys.executable, "-m", "ferbench", "worker"]
    assert Job.from_json(json.loads(job)) == JOB
    assert (option, events) == ("--events", "a b/events")
    assert JOB.command() == [*head, job]


def test_another_process_imports_from_the_current_folder_only_if_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "-P" in module_command("ferbench")
    for here in ("", str(tmp_path)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [here, *sys.path])
            assert module_command("ferbench") == [sys.executable, "-m", "ferbench"]


def test_a_job_ends_as_records_do_or_was_never_begun() -> None:
    assert set(STATUSES) == {*get_args(Status), "missing"}
