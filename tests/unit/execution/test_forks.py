"""Forks of a server that has imported torch: what they see, and what happens when one of the processes is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ferbench.cells.request import RunRequest
from ferbench.contract.events import Event, Finished
from ferbench.contract.executor import Job
from ferbench.discovery.loader import load_registry
from ferbench.execution import local, workers
from ferbench.execution.forks import FORKING, ForkServer, ServerGoneError
from ferbench.execution.plan import make_plan
from ferbench.execution.workers import Workers
from ferbench.records.cell import Cell
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.support.scripted_worker import FINISHED, SCRIPT

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.skipif(not FORKING, reason="Linux alone forks")]

SEEN = """
import torch
print(json.dumps({
    "threads": torch.get_num_threads(),
    "cuda": torch.cuda.is_initialized(),
    "modules": sorted(sys.modules),
    "environment": dict(os.environ),
    "signals": [signal.getsignal(each) is signal.default_int_handler for each in (signal.SIGINT,)],
    "numpy": sys.modules["numpy"].random.rand(),
    "files": len(os.listdir("/proc/self/fd")),
}))
"""
SHORTEST = {"image_size": 16, "steps": 1, "evaluations": 1}
WORKER = "tests.support.scripted_worker:work"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """One that was told of two threads."""
    found = ForkServer({**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")})
    yield found
    found.end()


def run(server: ForkServer, script: str, output: Path, **environment: str) -> int:
    with open(os.devnull, "rb") as nothing, output.open("wb") as out:
        streams = (nothing.fileno(), out.fileno(), out.fileno())
        process = server.start(WORKER, ["{}", os.devnull], {**os.environ, SCRIPT: script, **environment}, streams)
        return process.wait(120)


def test_a_fork_sees_what_a_new_process_would(server: ForkServer, tmp_path: Path) -> None:
    seen = []
    for number in ("3", "4"):
        assert run(server, SEEN, tmp_path / number, CUDA_VISIBLE_DEVICES=number) == 0
        seen.append(json.loads((tmp_path / number).read_text()))
    assert [each["environment"]["CUDA_VISIBLE_DEVICES"] for each in seen] == ["3", "4"]
    assert [each["threads"] for each in seen] == [2, 2]
    assert not any(each["cuda"] for each in seen)
    assert seen[0]["numpy"] != seen[1]["numpy"]
    assert seen[0]["files"] == seen[1]["files"], "one keeps open what another was given"
    assert all(each["signals"] == [True] for each in seen)
    loaded = {name.partition(".")[0] for name in seen[0]["modules"]} | set(seen[0]["modules"])
    assert {"torch", "timm"} <= loaded
    assert not [name for name in loaded if name.startswith(("ferbench_", "ferbench.builtin"))], "a plugin goes stale"


def test_the_server_asks_for_no_gpu() -> None:
    """Where the driver was asked, a fork of the process cannot use it."""
    ask = (
        "import torch\nfrom importlib import import_module\nfrom ferbench.execution.fork_server import IMPORTED\n"
        "def asked(*_): raise AssertionError\n"
        "for name in ('is_available', 'device_count', '_lazy_init'): setattr(torch.cuda, name, asked)\n"
        "for name in IMPORTED: import_module(name)\n"
    )
    assert subprocess.run([sys.executable, "-c", ask]).returncode == 0


def test_a_fork_ends_as_any_process_does(server: ForkServer, tmp_path: Path) -> None:
    assert run(server, "sys.exit(7)", tmp_path / "exit") == 7
    assert run(server, "os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "kill") == -signal.SIGKILL
    assert run(server, "1 / 0", tmp_path / "raise") == 1
    assert "ZeroDivisionError" in (tmp_path / "raise").read_text()
    assert run(server, "import atexit\natexit.register(print, 'saved')\nprint('done')", tmp_path / "end") == 0
    assert (tmp_path / "end").read_text() == "done\nsaved\n"


def test_a_fork_outlives_its_server(tmp_path: Path) -> None:
    server, output = ForkServer(os.environ), tmp_path / "output"
    with open(os.devnull, "rb") as nothing, output.open("wb") as out:
        streams = (nothing.fileno(), out.fileno(), out.fileno())
        environment = {**os.environ, SCRIPT: "time.sleep(1)\nprint('done')"}
        process = server.start(WORKER, ["{}", os.devnull], environment, streams)
        psutil.Process(process.pid).parent().kill()  # type: ignore[union-attr]
        with pytest.raises(ServerGoneError):
            server.start(WORKER, ["{}", os.devnull], environment, streams)
        assert process.poll() is None
        process.wait(60)
    assert output.read_text() == "done\n"
    server.end()


@pytest.fixture
def jobs(patterns: Path, tmp_path: Path) -> list[Job]:
    """Three cells of a few steps."""
    request = RunRequest(
        methods=["fixmatch"], datasets=[str(patterns)], ratios=["0.1"], seeds=range(3), backbones=["small-resnet/4"],
        overrides={"image_size": 16, "steps": 20}, runs=tmp_path / "runs", device="cpu",
    )  # fmt: skip
    return [item.job for item in make_plan(request, load_registry())]


def servers() -> set[psutil.Process]:
    """Those of this process."""
    return {each for each in psutil.Process().children() if "ferbench.execution.fork_server" in each.cmdline()}


def results(jobs: list[Job]) -> list[str]:
    store = RunStore(jobs[0].runs)
    found = [store.read(Cell.model_validate(dict(job.cell))) for job in jobs]
    return [record.result.model_dump_json() for record in found if isinstance(record, Record) and record.result]


def test_forks_and_new_processes_come_to_the_same_result(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local.LocalExecutor().run(jobs, lambda *_: None, 2) == ["ok"] * 3
    monkeypatch.setattr(workers, "FORKING", False)
    fresh = [Job.from_json({**job.to_json(), "runs": str(tmp_path / "fresh")}) for job in jobs]
    assert local.LocalExecutor().run(fresh, lambda *_: None, 2) == ["ok"] * 3
    assert results(jobs) == results(fresh)
    assert len(results(jobs)) == 3


def test_a_cell_after_the_first_costs_a_part_of_what_new_processes_cost(jobs: list[Job], tmp_path: Path) -> None:
    """All CPU time of a cell of one step: its worker and its trainer, data, test, record. Most of it is its start."""
    given = [replace(job, cell={**job.cell, "overrides": {"protocol": SHORTEST}}) for job in jobs]
    before, ends = servers(), []
    with Workers() as workers, (tmp_path / "log").open("wb") as log:
        for number, job in enumerate(given[:2]):
            worker = workers.start(job, tmp_path / f"events{number}", log.fileno())
            assert worker.process.wait(120) == 0
            worker.end()
            (server,) = servers() - before
            while server.children():
                time.sleep(0.02)
            used = server.cpu_times()
            ends.append(used.children_user + used.children_system)
    forked = ends[1] - ends[0]
    began = os.times()
    assert subprocess.run(given[2].command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0
    ended = os.times()
    fresh = ended.children_user + ended.children_system - began.children_user - began.children_system
    print(f"{forked:.2f} s of CPU as forks, {fresh:.2f} s as new processes")
    assert forked < fresh / 5


def test_a_killed_server_costs_no_cell(jobs: list[Job]) -> None:
    """Its forks go on, with a trainer that is no fork if they have none yet; another server starts the next cell."""
    before, killed, ends = servers(), [], []

    def told(job: Job, event: Event) -> None:
        if not killed:
            killed.extend(servers() - before)
            for server in killed:
                server.kill()
        if isinstance(event, Finished):
            ends.append(event)

    statuses = local.LocalExecutor().run(jobs, told, 2)
    assert len(killed) == 1
    assert statuses == ["ok"] * 3, ends
    assert servers() == before


def test_nothing_outlives_the_executor(jobs: list[Job], tmp_path: Path) -> None:
    """Killed as the kernel kills for want of memory, which leaves nobody to clean up."""
    lines = (
        "import json, sys\nfrom ferbench.contract.executor import Job\nfrom ferbench.execution import local, workers\n"
        f"workers.WORKER = {WORKER!r}\n"
        "jobs = [Job.from_json(each) for each in json.loads(sys.argv[1])]\n"
        "local.LocalExecutor().run(jobs, lambda *_: None, 2)\n"
    )
    script = (
        "from ferbench.execution.event_lines import end_with_parent\nend_with_parent()\n"
        f"open(f'{tmp_path}/{{os.getpid()}}.pid', 'w')\ntime.sleep(600)"
    )
    executor = subprocess.Popen(
        [sys.executable, "-c", lines, json.dumps([job.to_json() for job in jobs])], env={**os.environ, SCRIPT: script}
    )
    while len(list(tmp_path.glob("*.pid"))) < 2:
        assert executor.poll() is None
        time.sleep(0.05)
    started = psutil.Process(executor.pid).children(recursive=True)
    assert len(started) == 3
    executor.kill()
    executor.wait()
    _, alive = psutil.wait_procs(started, 30)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_a_cell_sees_the_gpu_of_its_slot_alone(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell has the GPU of its slot, whatever the GPU's number, and no GPU has two cells at a time."""
    script = (
        "gpu = os.environ['CUDA_VISIBLE_DEVICES']\nassert job['device'] == 'cuda'\n"
        "own = os.path.join(job['runs'], gpu)\nos.makedirs(job['runs'], exist_ok=True)\n"
        "os.close(os.open(own, os.O_CREAT | os.O_EXCL))\ntime.sleep(0.3)\nos.remove(own)\n"
        "open(os.path.join(job['runs'], f'used-{gpu}'), 'w')\n"
    )
    monkeypatch.setattr("ferbench.execution.slots.visible_gpus", lambda: ["2", "5", "7"])
    monkeypatch.setattr(workers, "WORKER", WORKER)
    monkeypatch.setenv(SCRIPT, script + FINISHED)
    given = [Job.from_json({**job.to_json(), "device": "cuda:1-2"}) for job in jobs]
    assert local.LocalExecutor().run(given, lambda *_: None, 8) == ["ok"] * 3
    assert {path.name for path in jobs[0].runs.glob("used-*")} == {"used-5", "used-7"}
