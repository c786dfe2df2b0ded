"""On real nodes of Ray, on this machine: what an executor must keep, what ends a run, and small storms."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster
from tests.support.command import call
from tests.support.storms import CELLS, Storm, calm, parent_of, weather
from tests.support.sweeps import finish, results, until, workers

from ferbench.contract.executor import Job
from ferbench_ray.executor import RayExecutor
from ferbench_ray.options import RayOptions

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


@pytest.fixture(scope="module")
def undisturbed(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Results of the cells that this machine's own executor runs."""
    runs = tmp_path_factory.mktemp("undisturbed")
    process = start(patterns, runs, "--executor", "local")
    assert process.wait(900) == 0, finish(process)
    return results(runs)


def test_it_keeps_what_an_executor_must(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    node = cluster.add_node(**NODE)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    done = call("plugins", "check", "ray", "--slow")
    assert done.code == 0, done.out + done.err
    cluster.remove_node(node)


def test_a_ray_that_is_started_for_the_run_alone_and_cells_that_share_a_task(
    patterns: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    process = start(patterns, tmp_path / "runs", "--executor", "ray", "--executor-option", "cells_per_task=3")
    out = finish(process)
    assert process.returncode == 0, out
    assert "2 at a time" in out
    assert results(tmp_path / "runs") == undisturbed
    assert not (tmp_path / "runs" / ".ray").exists()


def test_a_cell_has_as_many_places_as_nodes_have_room(cluster: Cluster, tmp_path: Path) -> None:
    nodes = [cluster.add_node(**NODE), cluster.add_node(**{**NODE, "num_cpus": 5})]
    job = Job(cell={}, plan={}, dataset="", pool=None, init=None, runs=tmp_path, device="cpu", threads=2)
    executor = RayExecutor(RayOptions(address=cluster.address))
    assert [executor.places([job] * 10, wanted) for wanted in (None, 2, 40)] == [3, 2, 10]
    assert RayExecutor(RayOptions(address=cluster.address, num_gpus=1)).places([job], None) == 1
    for node in nodes:
        cluster.remove_node(node)


def test_a_storm(cluster: Cluster, tmp_path: Path) -> None:
    """Workers, their servers, processes of Ray, nodes and the command itself are killed; cells share tasks."""
    undisturbed, group = calm(tmp_path / "calm"), max(2, CELLS // 30)
    nodes = [cluster.add_node(**NODE), cluster.add_node(**NODE)]
    generous = "--executor-option", "retries=50", "--executor-option", f"cells_per_task={group}"
    storm = Storm(tmp_path / "storm", *on(cluster), "--jobs", "3", *generous)

    def kill_node() -> bool:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        nodes.append(cluster.add_node(**NODE))
        return True

    def supervisors() -> list[psutil.Process]:
        """The processes of Ray that have a server."""
        parents = {parent_of(server) for server in storm.servers()}
        return [parent for parent in parents if parent is not None and parent.name().startswith("ray")]

    kills = {
        "worker": lambda: storm.kill_one(storm.forks()),
        "server": lambda: storm.kill_one(storm.servers()),
        "supervisor": lambda: storm.kill_one(supervisors()),
        "node": kill_node,
    }
    try:
        weather(storm, kills, ("worker", "supervisor", "node", "worker", "command", "server", "worker"), undisturbed)
    finally:
        for node in nodes:
            cluster.remove_node(node)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_cells_save_and_the_same_command_goes_on(
    cluster: Cluster, patterns: Path, tmp_path: Path, undisturbed: dict[str, object], number: signal.Signals
) -> None:
    """Ctrl-C, and what `kill`, docker and a scheduler send."""
    runs, node = tmp_path / "runs", cluster.add_node(**NODE)
    process = start(patterns, runs, *on(cluster))
    until(lambda: list(runs.rglob("checkpoint.safetensors")))
    process.send_signal(number)
    out = finish(process)
    assert process.returncode == 130 and "the same command continues from there" in out
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
