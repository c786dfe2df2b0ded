"""On real daemons: what an executor must keep, what ends a job, and small storms."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.command import call
from tests.support.local_slurm import LocalSlurm
from tests.support.storms import CELLS, Storm, calm, weather
from tests.support.sweeps import finish, results, until, workers

pytestmark = pytest.mark.storm

TINY = (
    "run", "--method", "fixmatch", "--ratio", "0.1", "--device", "cpu", "--backbone", "small-resnet/4",
    "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8",
)  # fmt: skip


def start(patterns: Path, runs: Path, *more: str, executor: str = "slurm", steps: int = 240) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ferbench", *TINY, "--dataset", str(patterns), "--runs", str(runs)]
    command += ["--executor", executor, "--jobs", "3", "--set", f"steps={steps}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def supervisors(runs: Path) -> list[psutil.Process]:
    marks = "submitit.core._submit", str(runs)
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line and "python" in line[0] and all(mark in " ".join(line) for mark in marks):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def undisturbed(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Results of six cells that this machine's own executor runs."""
    runs = tmp_path_factory.mktemp("undisturbed")
    process = start(patterns, runs, "--seed", "0-5", executor="local")
    assert process.wait(900) == 0, finish(process)
    return results(runs)


def test_it_keeps_what_an_executor_must(cluster: LocalSlurm) -> None:
    done = call("plugins", "check", "slurm", "--slow")
    assert done.code == 0, done.out + done.err


def test_arrays_are_split_cells_grouped_and_the_folder_of_a_sweep_that_is_done_is_gone(
    cluster: LocalSlurm, patterns: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    process = start(patterns, tmp_path / "runs", "--seed", "0-5", "--executor-option", "cells_per_job=2")
    out = finish(process)
    assert process.returncode == 0, out
    assert "3 x 2 cells, 3 at a time" in out and "`scancel " in out
    assert results(tmp_path / "runs") == undisturbed
    assert not (tmp_path / "runs" / ".slurm").exists()


def test_a_job_whose_time_is_up_saves_and_goes_on(cluster: LocalSlurm, patterns: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start(patterns, runs, "--seed", "0", steps=20_000)
    until(lambda: list(runs.rglob("checkpoint.safetensors")))
    job = cluster.ask("squeue", "--noheader", "--format=%A").split()[0]
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")  # its warning is due at once
    until(lambda: "Restarts=1" in cluster.ask("scontrol", "show", "job", job))
    until(lambda: any(worker.is_running() for worker in workers(runs)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    cluster.ask("scancel", job)
    until(lambda: not workers(runs))
    log = next(runs.glob(f".slurm/*/slurm/{job}_*_log.out")).read_text()
    assert "Calling checkpoint method" in log
    told = [json.loads(line) for line in next(runs.glob(".slurm/*/cells/0.jsonl")).read_text().splitlines()]
    assert next(line["status"] for line in told if line["kind"] == "finished") == "interrupted"
    assert [line["kind"] for line in told].count("started") == 2


def test_the_jobs_outlive_the_command_and_the_same_one_finds_them(
    cluster: LocalSlurm, patterns: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    runs = tmp_path / "runs"
    first = start(patterns, runs, "--seed", "0-5")
    until(lambda: workers(runs))
    first.send_signal(signal.SIGHUP)
    assert "the jobs go on" in finish(first)
    second = start(patterns, runs, "--seed", "0-5")
    out = finish(second)
    assert second.returncode == 0, out
    assert "cells were submitted before, and are watched" in out
    assert results(runs) == undisturbed


def test_detached_then_cancelled_then_run(
    cluster: LocalSlurm, patterns: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    runs = tmp_path / "runs"
    detached = start(patterns, runs, "--seed", "0-5", "--executor-option", "detach=true")
    out = finish(detached)
    assert detached.returncode == 1 and "the jobs go on without this command" in out
    watching = start(patterns, runs, "--seed", "0-5")
    assert watching.stdout is not None and any("are watched" in line for line in watching.stdout)
    cluster.ask("scancel", *re.findall(r"`scancel (\d+)`", out))  # as the person was told
    out = finish(watching)
    assert watching.returncode == 130 and "its SLURM job was cancelled" in out, out
    assert not workers(runs)
    again = start(patterns, runs, "--seed", "0-5")
    assert again.wait(900) == 0, finish(again)
    assert results(runs) == undisturbed


def test_a_folder_that_the_nodes_do_not_share(cluster: LocalSlurm, patterns: Path, tmp_path: Path) -> None:
    """The node's daemon runs in a namespace where the folder is another, empty one."""
    here = tmp_path / "here"
    here.mkdir()
    cluster.kill("slurmd")
    cluster.start_node("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {here} && exec "$@"', "sh")
    try:
        process = start(patterns, here / "runs", "--seed", "0-5")
        out = finish(process)
    finally:
        cluster.kill("slurmd")
        cluster.start_node()
    assert process.returncode == 2, out
    assert "the nodes of the cluster do not see this folder" in out
    until(lambda: not cluster.queue())
    assert not results(here / "runs")


def test_what_sbatch_refuses(cluster: LocalSlurm, patterns: Path, tmp_path: Path) -> None:
    process = start(patterns, tmp_path / "runs", "--seed", "0-5", "--executor-option", "partition=none")
    out = finish(process)
    assert process.returncode == 1 and "invalid partition" in out, out
    assert not cluster.queue()


def test_a_storm(cluster: LocalSlurm, tmp_path: Path) -> None:
    """Workers, their servers, supervisors, both daemons and the command itself are killed; two cells share a job."""
    undisturbed = calm(tmp_path / "calm")
    group = max(2, CELLS // 30)
    storm = Storm(
        tmp_path / "storm", "--executor", "slurm", "--jobs", "3",
        "--executor-option", "retries=50", "--executor-option", f"cells_per_job={group}",
    )  # fmt: skip

    def kill_node() -> bool:
        cluster.kill("slurmd")
        cluster.start_node()
        return True

    def kill_controller() -> bool:
        cluster.kill("slurmctld")
        cluster.start_controller()
        return True

    kills = {
        "worker": lambda: storm.kill_one(storm.forks()),
        "server": lambda: storm.kill_one(storm.servers()),
        "supervisor": lambda: storm.kill_one(supervisors(storm.runs)),
        "node": kill_node,
        "controller": kill_controller,
    }
    pattern = ("worker", "supervisor", "node", "worker", "command", "server", "controller")
    with cluster.administrator():
        weather(storm, kills, pattern, undisturbed)
    until(lambda: not cluster.queue())
