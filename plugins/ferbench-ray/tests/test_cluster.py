"""On real nodes of Ray, on this machine: what an executor must keep, what ends a run, and small storms."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster
from tests.support.command import call
from tests.support.sweeps import finish, results, until, workers

pytestmark = pytest.mark.storm

TINY = (
    "run", "--method", "fixmatch", "--ratio", "0.1", "--device", "cpu", "--backbone", "small-resnet/4",
    "--set", "steps=240", "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8",
    "--seed", "0-5", "--jobs", "3",
)  # fmt: skip
NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs; tests add nodes. Its temporary folder must have a short name."""
    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


def start(patterns: Path, runs: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ferbench", *TINY, "--dataset", str(patterns), "--runs", str(runs), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def on(cluster: Cluster) -> tuple[str, ...]:
    return "--executor", "ray", "--executor-option", f"address={cluster.address}"


def supervisors(runs: Path) -> list[psutil.Process]:
    """The processes of Ray that hold those workers."""
    held = []
    for worker in workers(runs):
        try:
            parent = worker.parent()
            if parent is not None and "run_cell" in parent.name() + " ".join(parent.cmdline()):
                held.append(parent)
        except psutil.Error:
            continue
    return held


@pytest.fixture(scope="module")
def undisturbed(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Results of the cells that this machine's own executor runs."""
    runs = tmp_path_factory.mktemp("undisturbed")
    process = start(patterns, runs, "--executor", "local")
    assert process.wait(900) == 0, finish(process)
    return results(runs)


def test_it_keeps_what_an_executor_must() -> None:
    """On a Ray that is started for the run alone."""
    done = call("plugins", "check", "ray", "--slow")
    assert done.code == 0, done.out + done.err


def test_a_storm(cluster: Cluster, patterns: Path, tmp_path: Path, undisturbed: dict[str, object]) -> None:
    """Workers, their supervisors, a node and the command itself are killed while six cells run."""
    runs, moments, kills = tmp_path / "runs", random.Random(0), 0
    nodes = [cluster.add_node(**NODE), cluster.add_node(**NODE)]
    generous = *on(cluster), "--executor-option", "retries=50"
    process = start(patterns, runs, *generous)
    for victim in ("worker", "supervisor", "node", "worker", "command", "supervisor", "worker"):
        until(partial(workers, runs))
        time.sleep(moments.uniform(0, 2))
        if victim == "command":
            process.kill()
            process.wait()
            until(lambda: not workers(runs))
            process, kills = start(patterns, runs, *generous), kills + 1
        elif victim == "node":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            nodes.append(cluster.add_node(**NODE))
            kills += 1
        elif found := (workers if victim == "worker" else supervisors)(runs):
            os.kill(moments.choice(found).pid, signal.SIGKILL)
            kills += 1
    out = finish(process)
    for node in nodes:
        cluster.remove_node(node)
    assert process.returncode == 0, out
    assert kills >= 6
    assert results(runs) == undisturbed
    until(lambda: not workers(runs))


def test_ctrl_c_lets_cells_save_and_the_same_command_goes_on(
    cluster: Cluster, patterns: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    runs, node = tmp_path / "runs", cluster.add_node(**NODE)
    process = start(patterns, runs, *on(cluster))
    until(lambda: list(runs.rglob("checkpoint.safetensors")))
    process.send_signal(signal.SIGINT)
    out = finish(process)
    assert process.returncode == 130 and "the same command goes on from there" in out
    assert not workers(runs)
    again = start(patterns, runs, *on(cluster))
    assert again.wait(900) == 0, finish(again)
    cluster.remove_node(node)
    assert results(runs) == undisturbed
    assert not (runs / ".ray").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of mounts needs root")
def test_a_folder_that_a_node_does_not_share(cluster: Cluster, patterns: Path, tmp_path: Path) -> None:
    """A node in a namespace where the folder is another, empty one."""
    here = tmp_path / "here"
    here.mkdir()
    ray = f"{Path(sys.executable).with_name('ray')} start --address={cluster.address} --num-cpus=1 --block"
    command = f"mount -t tmpfs none {here} && exec {ray} --object-store-memory=80000000"
    node = subprocess.Popen(["unshare", "--mount", "sh", "-c", command], stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout is not None
        assert any("Ray runtime started" in line for line in node.stdout)
        process = start(patterns, here / "runs", *on(cluster))
        out = finish(process)
    finally:
        node.terminate()
        node.wait()
    assert process.returncode == 2, out
    assert "does not see this folder" in out
    assert not results(here / "runs")
