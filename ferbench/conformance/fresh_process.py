"""Run a method in new processes, by `python -m`."""

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import torch

from ferbench.cells.resolve import method_config
from ferbench.conformance.toy_run import run_toy
from ferbench.contract.executor import module_command
from ferbench.discovery.registry import Entry

HASH_SEEDS = ("1", "2")


def in_fresh_processes(entry: Entry, variant: str, views: Mapping[str, str]) -> list[str]:
    """Return the digests of a variant's runs in two new processes, in which hash() of a string differs.

    `views` are the targets of the views that the method asks for, by name. Raises AssertionError if a process fails.
    """
    module = "ferbench.conformance.fresh_process"
    command = module_command(module, entry.target, entry.name, variant, json.dumps(dict(views)))
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


def main(target: str, name: str, variant: str, views: str) -> None:
    """Run the method and print the digest of the result."""
    torch.set_num_threads(1)
    method, own = _imported(target), {view: _imported(path) for view, path in json.loads(views).items()}
    print(run_toy(method, method_config(name, method, variant, None, {}), views=own).everything)


def _imported(target: str) -> Any:
    module, _, path = target.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


if __name__ == "__main__":
    main(*sys.argv[1:])
