"""The plugin from outside: ferbench's own checks; with SLURM's daemons they are in test_cluster.py."""

import subprocess
import sys

import pytest
from tests.support.command import succeed as ferbench


@pytest.mark.slow
def test_conformance() -> None:
    ferbench("plugins", "check", "slurm")


@pytest.mark.process
def test_the_hooks_import_nothing_heavy() -> None:
    code = "import sys, ferbench_slurm.plugin; print({'torch', 'pandas', 'pydantic', 'submitit'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
