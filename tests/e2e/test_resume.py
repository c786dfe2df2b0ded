"""A cell that is killed at random moments and started again ends in the bytes of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.storm

COMMAND = [
    "run", "--method", "fixmatch", "--ratio", "0.1", "--seed", "3", "--device", "cpu", "--backbone", "small-resnet/4",
    "--set", "steps=240", "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8",
    "--set", "fixmatch.align=true",
]  # fmt: skip
SHARED = [
    "run", "--method", "fixmatch", "--ratio", "0.1", "--seed", "3", "--device", "cpu", "--backbone", "small-vit",
    "--set", "steps=120", "--set", "image_size=16", "--set", "labeled_batch=6", "--set", "unlabeled_batch=8",
    "--processes", "2",
]  # fmt: skip


def start(patterns: Path, runs: Path, command: list[str] = COMMAND) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "ferbench", *command, "--dataset", str(patterns), "--runs", str(runs)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(runs: Path) -> tuple[object, bytes, bytes]:
    folder = next(runs.rglob("record.json")).parent
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "ok"
    return record["result"], (folder / "model.safetensors").read_bytes(), (folder / "history.json").read_bytes()


def wait_for_checkpoint(runs: Path, process: "subprocess.Popen[str]", newer_than: int) -> int | None:
    """The time stamp of a checkpoint that is newer; None when the run has ended."""
    while process.poll() is None:
        for path in runs.rglob("checkpoint.safetensors"):
            try:
                stamp = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if stamp > newer_than:
                return stamp
        time.sleep(0.005)
    return None


def test_sigkill_at_random_moments_changes_nothing(patterns: Path, tmp_path: Path) -> None:
    whole = start(patterns, tmp_path / "whole")
    assert whole.wait() == 0, whole.stdout.read() if whole.stdout else ""

    moments = random.Random(0)
    stamp, kills = 0, 0
    for _ in range(3):
        process = start(patterns, tmp_path / "killed")
        seen = wait_for_checkpoint(tmp_path / "killed", process, stamp)
        if seen is None:
            break
        stamp = seen
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() != 0
    last = start(patterns, tmp_path / "killed")
    assert last.wait() == 0, last.stdout.read() if last.stdout else ""

    assert kills >= 2
    record = json.loads(next((tmp_path / "killed").rglob("record.json")).read_text())
    assert record["measured"]["resumed"] >= 1
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("checkpoint.safetensors"))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_terminal_and_a_scheduler_let_it_save(patterns: Path, tmp_path: Path, number: int) -> None:
    process = start(patterns, tmp_path / "runs")
    assert wait_for_checkpoint(tmp_path / "runs", process, 0) is not None
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert "continues from there" in out
    assert list((tmp_path / "runs").rglob("checkpoint.safetensors"))


def test_ctrl_c_saves_and_exits_130_and_workers_die_with_their_parent(patterns: Path, tmp_path: Path) -> None:
    process = start(patterns, tmp_path / "runs")
    assert wait_for_checkpoint(tmp_path / "runs", process, 0) is not None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert "continues from there" in out
    assert list((tmp_path / "runs").rglob("checkpoint.safetensors"))

    process = start(patterns, tmp_path / "runs")
    while not (found := list((tmp_path / "runs").rglob("running.json"))):
        time.sleep(0.01)
        assert process.poll() is None
    worker = int(json.loads(found[0].read_text())["pid"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(500):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{worker}/stat").exists() and Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail("the worker outlived its parent")


def test_processes_that_share_a_cell_go_on_where_they_were(patterns: Path, tmp_path: Path) -> None:
    whole = start(patterns, tmp_path / "whole", SHARED)
    assert whole.wait() == 0, whole.stdout.read() if whole.stdout else ""

    process = start(patterns, tmp_path / "stopped", SHARED)
    assert wait_for_checkpoint(tmp_path / "stopped", process, 0) is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last = start(patterns, tmp_path / "stopped", SHARED)
    assert last.wait() == 0, last.stdout.read() if last.stdout else ""

    record = json.loads(next((tmp_path / "stopped").rglob("record.json")).read_text())
    assert (record["measured"]["processes"], record["measured"]["resumed"]) == (2, 1)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_checkpoint_replaced_by_a_pickle_is_named_and_never_executed(patterns: Path, tmp_path: Path) -> None:
    process = start(patterns, tmp_path / "runs")
    assert wait_for_checkpoint(tmp_path / "runs", process, 0) is not None
    process.send_signal(signal.SIGINT)
    process.communicate()
    checkpoint = next((tmp_path / "runs").rglob("checkpoint.safetensors"))
    marker = tmp_path / "executed"
    # protocol 0: calls os.mkdir when it is unpickled
    checkpoint.write_bytes(f"cos\nmkdir\n(S'{marker}'\ntR.".encode())
    process = start(patterns, tmp_path / "runs")
    out, _ = process.communicate()
    assert process.returncode == 0  # it goes on from an earlier state
    assert "checkpoint.safetensors: not a ferbench checkpoint" in out
    assert not marker.exists()
