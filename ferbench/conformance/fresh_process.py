"""Runs of a method in processes of their own: `python -m ferbench.conformance.fresh_process TARGET NAME VARIANT`."""

import functools
import importlib
import os
import subprocess
import sys

import torch

from ferbench.cells.resolve import method_config
from ferbench.conformance.toy_run import run_toy
from ferbench.conformance.toy_task import RECIPE
from ferbench.discovery.registry import Entry

HASH_SEEDS = ("1", "2")


def in_fresh_processes(entry: Entry, variant: str) -> list[str]:
    """How runs of a variant end in two new processes, in which hash() of a string differs; raises AssertionError."""
    command = [sys.executable, "-m", "ferbench.conformance.fresh_process", entry.target, entry.name, variant]
    paths = os.pathsep.join(path for path in sys.path if path)
    running = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in HASH_SEEDS
    ]
    ends = []
    for process in running:
        shown, errors = process.communicate()
        assert process.returncode == 0, f"a new process fails: {' '.join(errors.splitlines()[-1:])}"
        ends.append(shown.split()[-1])
    return ends


def main(target: str, name: str, variant: str) -> None:
    """Print the digest of a run's end."""
    torch.set_num_threads(1)
    module, _, path = target.partition(":")
    method = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    print(run_toy(method, method_config(name, method, variant, RECIPE, {})).everything)


if __name__ == "__main__":
    main(*sys.argv[1:])
