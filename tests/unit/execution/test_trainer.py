"""The trainer's process: it does not outlive its supervisor, and its death is noticed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ferbench.contract.executor import Job
from ferbench.execution import trainer
from ferbench.execution.trainer import train_apart

pytestmark = pytest.mark.process

HOLDS_EVERYTHING_UP = """
import ctypes
from ferbench.execution.event_lines import end_with_parent
end_with_parent()
print("ready", flush=True)
ctypes.PyDLL(None).sleep(60)
"""
"""No thread of Python can run meanwhile."""
LEAVES_A_PROCESS = """
import os, sys, time
if child := os.fork():
    open(sys.argv[1], "w").write(str(child))
    os._exit(7)
time.sleep(60)
"""
"""As a pool of processes does that a method has made: they hold the pipe of events open."""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel sends a signal")
def test_a_process_whose_threads_cannot_run_ends_with_its_parent() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_EVERYTHING_UP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.wait(20) == -signal.SIGIO
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """The file with the number of the process that the trainer has left."""
    yield tmp_path / "pid"
    with suppress(OSError, ValueError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_trainer_is_over_though_a_process_that_it_has_forked_lives(
    tmp_path: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(job: Job, folder: Path, forks: None, stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", LEAVES_A_PROCESS, str(left)], stdin=stdin, stdout=stdout)

    monkeypatch.setattr(trainer, "_start", start)
    job = Job({}, {}, "faces", None, None, tmp_path, "cpu", 1)
    with pytest.raises(SystemExit, match="7"):
        train_apart(job, tmp_path, lambda event: None, lambda: None, lambda: None)
