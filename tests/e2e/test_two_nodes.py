"""Two nodes share a runs folder whose file system has no working locks: no cell is ever published twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_run_cli import SMALL
from tests.support.command import succeed
from tests.support.sweeps import results, until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare for nodes apart"
    ),
]
CELLS, LEASE = 3, 1.5
SIZE = (*SMALL[1:], "--set=steps=200", "--set=evaluations=2")
GRID = ("--method", "fixmatch", "--ratio", "0.1", "--seed", f"0-{CELLS - 1}", *SIZE)
WITHOUT_LOCKS = """
import fcntl, os

fcntl.flock = fcntl.lockf = lambda *arguments: None
replace = os.replace


def replace_and_tell(source, target, **options):
    replace(source, target, **options)
    if os.path.basename(target) == "record.json":
        with open(os.environ["PUBLISHED"], "a") as file:
            file.write(f"{target}\\n")


os.replace = replace_and_tell
"""
"""Runs at the start of each Python: locks hold nobody back, and each record is noted when it appears."""

AS_HOST = """
import os, socket, sys
socket.sethostname(sys.argv[1])
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Node:
    """A command in namespaces of its own, where processes have other numbers and the host another name."""

    def __init__(self, name: str, arguments: tuple[str, ...], environment: dict[str, str], folder: Path) -> None:
        self.name, self.printed = name, folder / f"{name}.txt"
        apart = ["unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        self._command = [*apart, sys.executable, "-c", AS_HOST, name, "-m", "ferbench", *arguments]
        self._environment = {**os.environ, **environment}
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin the command, or begin it again."""
        with self.printed.open("ab") as output:
            return subprocess.Popen(self._command, stdout=output, stderr=output, env=self._environment)

    def has_ended(self) -> bool:
        """Whether all cells are done for this node. A command that left cells to the other node begins again."""
        code = self.process.poll()
        if code is None or code == 0:
            return code == 0
        self.process = self.start()
        return False

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the node at once."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def holds(self, runs: Path) -> bool:
        """Whether a process of the node works on a cell."""
        for marker in runs.rglob("running.json"):
            with suppress(OSError, ValueError):
                if json.loads(marker.read_bytes())["host"] == self.name:
                    return True
        return False


@pytest.fixture
def nodes(tmp_path: Path, patterns: Path) -> Iterator[tuple[Node, Node]]:
    """The first begins at once, the second when the first has been paused in its first cell."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(WITHOUT_LOCKS)
    paths = os.pathsep.join([str(tmp_path / "path"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": paths, "PUBLISHED": str(tmp_path / "published"), "FERBENCH_LEASE_SECONDS": str(LEASE)}
    arguments = ("run", "--dataset", str(patterns), "--runs", str(tmp_path / "runs"), *GRID)
    started = [Node("node-a", arguments, environment, tmp_path)]
    try:
        until(lambda: started[0].holds(tmp_path / "runs"))
        started[0].signal(signal.SIGSTOP)
        started.append(Node("node-b", arguments, environment, tmp_path))
        yield started[0], started[1]
    finally:
        for node in started:
            node.process.kill()
            node.process.wait()


def test_paused_owners_that_wake_after_a_takeover_publish_nothing(
    nodes: tuple[Node, Node], patterns: Path, tmp_path: Path
) -> None:
    first, second = nodes
    until(lambda: second.holds(tmp_path / "runs"))  # the cell of the first, which has given no sign of life
    first.signal(signal.SIGCONT)
    moments, turn, deadline = random.Random(0), 0, time.monotonic() + 600
    while sum(node.has_ended() for node in nodes) < len(nodes):
        assert time.monotonic() < deadline, first.printed.read_text() + second.printed.read_text()
        node, turn = nodes[turn % 2], turn + 1
        if node.holds(tmp_path / "runs"):
            time.sleep(moments.uniform(0, 1))
            node.signal(signal.SIGSTOP)
            time.sleep(LEASE + 1)
            node.signal(signal.SIGCONT)
        time.sleep(0.2)
    printed = [node.printed.read_text() for node in nodes]
    assert "has taken over" in printed[0]
    assert not any(": failed: " in text for text in printed), "whoever wakes spoils nothing"
    published = Counter((tmp_path / "published").read_text().splitlines())
    assert set(published.values()) == {1} and len(published) == CELLS
    succeed("run", "--dataset", str(patterns), "--runs", str(tmp_path / "alone"), *GRID)
    assert results(tmp_path / "runs") == results(tmp_path / "alone")
