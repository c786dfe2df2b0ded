"""A connection to Ray, and whether its nodes see a folder."""

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ferbench.errors import ExecutorError, UsageError
from ferbench_ray.task import Meeting, lacks

PATIENCE_SECONDS = 60.0
SMALLEST_STORE = 80_000_000
"""Size of Ray's object store in bytes. Nothing is put into it."""
RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
"""Resources by the names that tasks use, with the names that nodes use."""
PASSED_ON = ("FERBENCH_", "PYTHONPATH")
"""Prefixes of the variables that tasks get from this process. A running cluster already has its own environment."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within the block Ray answers; raises ExecutorError if it does not. An existing connection is used and stays."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        with _same_handler_of_sigterm():
            if address:
                _check_port(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                ray.init(
                    address="local", include_dashboard=False, object_store_memory=SMALLEST_STORE, log_to_driver=False,
                    logging_level=logging.ERROR,
                )  # fmt: skip
    except (OSError, RuntimeError, ValueError, ImportError, RayError) as error:
        where = f"at {address}" if address else "on this machine"
        problem = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExecutorError(
            f"Ray {where} does not answer ({problem}); look with `ray status`, or name another with --executor-option "
            "address=..."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _same_handler_of_sigterm() -> Iterator[None]:
    """Keep the handler that lets cells save: `ray.init` sets one that exits at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def room_for(wants: Mapping[str, float]) -> int:
    """The number of tasks with these resources that fit on the present nodes; at least 1, since nodes may be added."""
    wanted = {RESOURCES[name]: amount for name, amount in wants.items() if amount}
    found = 0
    for node in ray.nodes() if wanted else ():
        if node["Alive"]:
            found += min(math.floor(node["Resources"].get(name, 0) / amount) for name, amount in wanted.items())
    return max(found, 1)


def environment() -> dict[str, Any]:
    """Ray's description of the environment of tasks: variables only, so that no folder is uploaded."""
    return {"env_vars": {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}}


def check_nodes(meeting: Meeting) -> None:
    """Raise UsageError if a node with CPUs lacks a folder that tasks need, ExecutorError if one lacks ferbench."""
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote = ray.remote(num_cpus=0, max_retries=0, runtime_env=environment())(lacks)
            answer = remote.options(scheduling_strategy=where).remote(str(meeting.folder), os.getcwd())
            asked[answer] = node["NodeManagerHostname"]
    for answer, host in asked.items():
        try:
            lacking = ray.get(answer, timeout=PATIENCE_SECONDS)
        except RayTaskError as error:
            last = str(error).strip().splitlines()[-1]
            raise ExecutorError(f"Ray's node {host} cannot run ferbench ({last}); install it there too") from None
        except (GetTimeoutError, RayError):  # a node that leaves or is busy does not matter
            continue
        if lacking == str(meeting.folder):
            raise UsageError(
                f"--runs {meeting.folder.parent.parent}: Ray's node {host} does not see this folder; name one on a "
                "file system that all nodes share"
            )
        if lacking:
            raise UsageError(
                f"{lacking}: Ray's node {host} does not have this folder, in which the command was started; start it "
                "in one that all nodes have"
            )


def _check_port(address: str) -> None:
    """Raise OSError if nobody listens at the address; Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
