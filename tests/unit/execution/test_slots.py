"""Which cells run side by side, on machines with the GPUs that a test says."""

from dataclasses import replace

import pytest

from ferbench.contract.executor import Job
from ferbench.errors import UsageError
from ferbench.execution.local import LocalExecutor, LocalOptions
from ferbench.execution.slots import Slot, slots_for
from tests.support.refusals import refused


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the machine has; four at first."""
    found = ["0", "1", "2", "3"]
    monkeypatch.setattr("ferbench.execution.slots.visible_gpus", lambda: found)
    return found


def job(device: str, processes: int = 1) -> Job:
    cell = {"cell": {}, "plan": {}, "dataset": "d", "pool": None, "init": None, "threads": 1}
    return Job.from_json({**cell, "runs": "runs", "device": device, "processes": processes})


def seen(device: str, per_device: int = 1, wanted: int | None = None, processes: int = 1) -> list[str]:
    return [",".join(slot.gpus) for slot in slots_for(job(device, processes), per_device, wanted)]


def test_every_gpu_has_one_cell_until_more_are_asked_for(gpus: list[str]) -> None:
    assert seen("cuda") == seen("auto") == ["0", "1", "2", "3"]
    assert seen("cuda:1-2") == ["1", "2"]
    assert seen("cuda:3") == ["3"]
    assert seen("cuda:0-1", per_device=2) == ["0", "1", "0", "1"], "each has its first cell before one has two"
    assert seen("cuda", wanted=2) == ["0", "1"]
    assert seen("cuda", wanted=9) == ["0", "1", "2", "3"]
    assert seen("cuda", wanted=9, per_device=2) == ["0", "1", "2", "3"] * 2


def test_processes_that_share_a_cell_have_a_gpu_each(gpus: list[str]) -> None:
    assert seen("cuda", processes=2) == ["0,1", "2,3"]
    assert seen("cuda:0-2", processes=2) == ["0,1"]
    with refused(UsageError, "--processes 2", "--device cuda:0", "1 GPU"):
        seen("cuda:0-0", processes=2)


def test_the_processor_has_as_many_cells_as_are_asked_for(gpus: list[str]) -> None:
    assert seen("cpu") == [""]
    assert seen("cpu", wanted=3, per_device=2) == [""] * 3
    gpus.clear()
    assert seen("auto", wanted=3) == [""] * 3


@pytest.mark.parametrize(
    ("device", "words"),
    [("cuda:0-9", "cuda:0 to cuda:3"), ("cuda:4", "cuda:0 to cuda:3"), ("cuda:3-4", "cuda:0 to cuda:3")],
)
def test_a_gpu_that_is_not_there_is_refused(gpus: list[str], device: str, words: str) -> None:
    with refused(UsageError, f"--device {device}", words):
        LocalExecutor().places([job(device)], None)
    del gpus[1:]
    with refused(UsageError, "cuda:0 alone"):
        seen(device)
    gpus.clear()
    with refused(UsageError, "no CUDA device", "--device cpu"):
        seen(device)


def test_cells_per_gpu_are_refused_where_there_is_none() -> None:
    with refused(UsageError, "--per-device 4", "--jobs 4"):
        slots_for(job("cpu"), 4, None)


def test_what_is_asked_for_is_cut_to_the_places_that_are_there(gpus: list[str]) -> None:
    executor = LocalExecutor(LocalOptions(per_device=2))
    assert [executor.places([job("cuda")], wanted) for wanted in (None, 3, 20)] == [8, 3, 8]
    assert [LocalExecutor().places([job("cpu")], wanted) for wanted in (None, 3)] == [1, 3]
    assert LocalExecutor().places([], None) == 1


def test_a_process_is_told_of_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = Slot(("5",))
    assert slot.environment()["CUDA_VISIBLE_DEVICES"] == "5"
    given = job("cuda:0-3")
    assert slot.job(given) == replace(given, device="cuda")
    assert slot.job(job("auto")).device == "auto", "its torch may have no CUDA"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert Slot().environment()["CUDA_VISIBLE_DEVICES"] == "3"
    assert Slot().job(job("cpu")).device == "cpu"
