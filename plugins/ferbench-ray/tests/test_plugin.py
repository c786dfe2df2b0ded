"""The plugin from outside; what needs a cluster is in test_cluster.py."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import succeed as ferbench

from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.errors import ExecutorError, UsageError
from ferbench.execution.executors import make_executor
from ferbench_ray.task import Meeting, lacks


@pytest.mark.slow
def test_conformance() -> None:
    ferbench("plugins", "check", "ray")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_ray.plugin; print({'torch', 'pandas', 'pydantic', 'ray'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"num_gpu": 1}, "did you mean 'num_gpus'"), ({"num_gpus": -1}, "num_gpus"), ({"address": ""}, "address")],
)
def test_options_that_are_refused(registry: Registry, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match="--executor-option") as caught:
        make_executor(registry, "ray", options)
    assert said in str(caught.value)


def test_places_without_a_cluster(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Ray that would be started for the run: nothing is started to be asked."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    job = Job(cell={}, plan={}, dataset="", pool=None, init=None, runs=tmp_path, device="cpu", threads=1)
    executor = make_executor(registry, "ray", {"cells_per_task": 4})
    assert [executor.places([job] * 10, wanted) for wanted in (None, 2, 40)] == [1, 2, 3]
    assert executor.places([], None) == 1


def test_a_gpu_that_ray_chooses_is_not_chosen_twice(registry: Registry, tmp_path: Path) -> None:
    job = Job(cell={}, plan={}, dataset="", pool=None, init=None, runs=tmp_path, device="cuda:1", threads=1)
    with pytest.raises(UsageError, match="--device cuda:1: Ray chooses the GPU"):
        make_executor(registry, "ray", {}).places([job], None)


def test_a_node_says_which_folder_it_lacks(tmp_path: Path) -> None:
    meeting, here, gone = Meeting.create(tmp_path), str(tmp_path), str(tmp_path / "gone")
    assert lacks(str(meeting.folder), here) == ""
    assert lacks(str(meeting.folder), gone) == gone
    assert lacks(gone, here) == gone


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_ray_that_does_not_answer(registry: Registry, tmp_path: Path, scheme: str) -> None:
    """A port that is taken, and at which nobody listens."""
    job = Job(
        cell={}, plan={}, dataset="", pool=None, init=None, runs=tmp_path / "runs", device="cpu", threads=1
    )  # fmt: skip
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        executor = make_executor(registry, "ray", {"address": address})
        silent = f"Ray at {address} does not answer .*refused"
        with pytest.raises(ExecutorError, match=silent):
            executor.places([job], None)
        with pytest.raises(ExecutorError, match=silent):
            executor.run([job], lambda job, event: None, 1)
    assert not (tmp_path / "runs").exists()
