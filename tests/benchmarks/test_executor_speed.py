"""What executors cost: processor time of the whole machine per cell, and how near two slots come to twice the speed.

Nothing else may run meanwhile. SLURM and Ray are tried where they are installed.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.local_slurm import local_slurm, why_not
from tests.support.pattern_set import write_pattern_set

pytestmark = pytest.mark.process

FEW, MANY = 4, 24
MOST_SECONDS = 1.5
"""Of processor time, for a cell beyond its work: 1 s for the executor and 0.5 s for the start of the worker."""
CELL_SECONDS, SIDE_BY_SIDE, LEAST = 60.0, 6, 0.9
SMALL = (
    "run", "--ratio", "0.1", "--device", "cpu", "--backbone", "small-resnet/4", "--set", "image_size=16",
    "--set", "labeled_batch=6", "--set", "evaluations=1", "--method", "fixmatch", "--set", "unlabeled_batch=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny dataset that is packed already."""
    found = write_pattern_set(tmp_path_factory.mktemp("data") / "patterns")
    run(found, tmp_path_factory.mktemp("first"), 1, steps=1)
    return found


def run(patterns: Path, runs: Path, cells: int, *words: str, steps: int) -> None:
    """A sweep of cells in a process of its own."""
    seeds = f"0-{cells - 1}" if cells > 1 else "0"
    sweep = (*SMALL, "--dataset", str(patterns), "--runs", str(runs), "--seed", seeds, "--set", f"steps={steps}")
    done = subprocess.run([sys.executable, "-m", "ferbench", *sweep, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def machine_seconds() -> float:
    """The processor time that all processes have used since the machine began, daemons too."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def seconds_per_cell(patterns: Path, folder: Path, *words: str) -> float:
    """The processor time of one more cell in a sweep."""
    used = []
    for cells in (FEW, MANY):
        began = machine_seconds()
        run(patterns, folder / str(cells), cells, *words, steps=20)
        used.append(machine_seconds() - began)
    return (used[1] - used[0]) / (MANY - FEW)


@pytest.fixture(scope="module")
def alone(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The processor time of a cell within one process."""
    return seconds_per_cell(patterns, tmp_path_factory.mktemp("inline"), "--executor", "inline")


@pytest.fixture(params=["local", "slurm", "ray"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The words that choose an executor, two cells at a time; on a cluster the cells of a sweep share two jobs."""
    chosen = "--executor", request.param, "--jobs", "2", "--executor-option"
    if request.param == "local":
        yield chosen[:-1]
    elif request.param == "ray":
        pytest.importorskip("ray")
        yield *chosen, f"cells_per_task={MANY // 2}"
    elif reason := why_not():
        pytest.skip(reason)
    else:
        with local_slurm(tmp_path / "slurm") as slurm, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(slurm.conf))
            yield *chosen, f"cells_per_job={MANY // 2}"


def test_a_cell_costs_less_than_a_second_beside_its_work(
    benchmark: Any, executor: tuple[str, ...], alone: float, patterns: Path, tmp_path: Path
) -> None:
    cost = benchmark.pedantic(seconds_per_cell, (patterns, tmp_path / "runs", *executor), rounds=1) - alone
    benchmark.extra_info |= {"work": alone, "executor and start": cost}
    print(f"\n{executor[1]}: {cost:.2f} s of processor time per cell beside its work of {alone:.2f} s")
    assert cost < MOST_SECONDS


def test_two_slots_are_nearly_twice_as_fast(benchmark: Any, patterns: Path, tmp_path: Path) -> None:
    """With cells of a minute. The ideal is half the time that the cells take one after another."""
    run(patterns, tmp_path / "tried", 1, steps=1000)
    steps = int(1000 * CELL_SECONDS / wall_seconds(tmp_path / "tried")[0])
    run(patterns, tmp_path / "alone", 1, steps=steps)
    began = time.perf_counter()
    benchmark.pedantic(run, (patterns, tmp_path / "both", SIDE_BY_SIDE, "--jobs", "2"), {"steps": steps}, rounds=1)
    took = time.perf_counter() - began
    (one,), many = wall_seconds(tmp_path / "alone"), wall_seconds(tmp_path / "both")
    reached, busy = SIDE_BY_SIDE * one / 2 / took, sum(many) / 2 / took
    benchmark.extra_info |= {"efficiency": reached, "busy": busy}
    print(f"\n{one:.0f} s alone, {took:.0f} s for {len(many)} on two slots: {reached:.0%} of ideal, busy {busy:.0%}")
    assert reached >= LEAST


def wall_seconds(runs: Path) -> list[float]:
    """The time that each cell took, as its record says."""
    return [json.loads(path.read_bytes())["measured"]["wall_seconds"] for path in runs.rglob("record.json")]
