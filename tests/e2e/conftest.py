"""The command line as a person runs it: another process, its exit code and its two streams."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ferbench(tmp_path: Path) -> Ferbench:
    """`ferbench("run", "--method", "fixmatch", env={...})` in an empty folder; never waits for input."""

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ferbench", *arguments],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
