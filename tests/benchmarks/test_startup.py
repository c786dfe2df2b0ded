"""How long the command line takes to answer, beside an interpreter that does nothing."""

import subprocess
import sys
from typing import Any

import pytest

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "ferbench --help": ["-m", "ferbench", "--help"],
    "ferbench list": ["-m", "ferbench", "list"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_startup(benchmark: Any, command: str) -> None:
    benchmark.group = "startup"
    arguments = [sys.executable, *COMMANDS[command]]
    options = {"capture_output": True, "check": True}
    benchmark.pedantic(subprocess.run, (arguments,), options, rounds=10, warmup_rounds=2)
