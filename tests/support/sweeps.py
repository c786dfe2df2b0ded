"""Sweeps as processes of their own: what they leave, and who works on them while they are disturbed."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

WAIT_SECONDS = 300.0


def finish(process: "subprocess.Popen[str]") -> str:
    """What a command prints until it ends."""
    out, _ = process.communicate(timeout=900)
    return out


def results(runs: Path) -> dict[str, object]:
    """The deterministic part of each record, by its place."""
    paths = runs.rglob("record.json")
    return {str(path.relative_to(runs)): json.loads(path.read_text()).get("result") for path in paths}


def until(happens: Callable[[], object]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not happens():
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.05)


def workers(runs: Path) -> list[psutil.Process]:
    """Processes of this machine that work on the cells of a folder, as the cells' own files say."""
    found = []
    for marker in runs.rglob("running.json"):
        try:
            process = psutil.Process(json.loads(marker.read_bytes())["pid"])
            if process.status() != psutil.STATUS_ZOMBIE and "ferbench" in " ".join(process.cmdline()):
                found.append(process)
        except (OSError, ValueError, psutil.Error):
            continue
    return found
