"""The command line as a person runs it: its exit code and its two streams."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import call

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ferbench(request: pytest.FixtureRequest, tmp_path: Path) -> Ferbench:
    """`ferbench("run", "--method", "fixmatch", env={...})` in an empty folder; never waits for input.

    In another process where the test is marked so, else in this one.
    """
    apart = request.node.get_closest_marker("process") is not None

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        if not apart:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(cwd)
                for name, value in (env or {}).items():
                    patch.setenv(name, value)
                done = call(*arguments)
            return subprocess.CompletedProcess(arguments, done.code, done.out, done.err)
        both = {**os.environ, **(env or {})}
        if env and "PYTHONPATH" in env and "PYTHONPATH" in os.environ:  # where ferbench itself may come from
            both["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], os.environ["PYTHONPATH"]])
        return subprocess.run(
            [sys.executable, "-m", "ferbench", *arguments],
            env=both,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from tests.support.browser import chromium  # which most tests do without

    with chromium() as found:
        yield found
