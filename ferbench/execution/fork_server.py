"""The process that `forks.py` starts: it imports torch and what else every cell needs, and forks for who asks.

It runs no plugin's code, opens no data and asks for no GPU, so a fork finds nothing in its memory that a new process
would not import, and may choose its own GPU and number of threads.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from ferbench.discovery.foreign_code import STOPPING, leave
from ferbench.execution.forks import Forks

IMPORTED = (
    "pyarrow.dataset",  # which the first Parquet file would import, and pandas with it
    "torch._dynamo",  # which the first optimizer would import
    "timm",
    "ferbench.discovery.loader",
    "ferbench.execution.run_cell",
    "ferbench.execution.train_cell",
    "ferbench.execution.worker",
)

Entry = Callable[[Sequence[str], Forks | None], int]
Handlers = Mapping[signal.Signals, Any]


def main(requests: socket.socket) -> None:
    """Serve until nobody is left to ask. A fork does what was asked for, and ends with its exit code."""
    before = {each: signal.getsignal(each) for each in STOPPING}
    for each in STOPPING:  # they are for those who ask, with whom it ends
        signal.signal(each, _pass)
    for name in IMPORTED:
        import_module(name)
    _remember_code()
    gc.collect()
    gc.freeze()  # so that no collection in a fork copies what all share
    handed = _serve(requests)
    if handed is not None:
        _leave(_begin(handed, before))


def _pass(number: int, frame: FrameType | None) -> None:
    pass


def _remember_code() -> None:
    """Keep the hash of ferbench's files, which may change, as it is of the code that is now imported."""
    from ferbench.cells.code_stamps import code

    code()


def _serve(requests: socket.socket) -> list[int] | None:
    """Fork for every request. Returns what was handed over in each fork, and None here once nobody can ask."""
    children: dict[int, socket.socket] = {}
    ended, wake = socket.socketpair()
    ended.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, _pass)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            ended.recv(4096)
            _tell_ends(children)
        if requests not in ready:
            continue
        message, handed, _, _ = socket.recv_fds(requests, 16, 8)
        if not message:
            return None
        status = socket.socket(fileno=handed.pop(0))
        # A signal reaches the server or the fork, which does not heed it as the server does.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (requests, ended, wake, status, *children.values()):
                each.close()
            return handed
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        children[pid] = status
        for descriptor in handed:
            os.close(descriptor)
        with suppress(OSError):  # who asked is gone; the fork's input ends too
            status.send(str(pid).encode())


def _tell_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            with children.pop(found[0]) as asked, suppress(OSError):
                asked.send(str(os.waitstatus_to_exitcode(found[1])).encode())


def _begin(handed: Sequence[int], before: Handlers) -> int:
    """Become the process that was asked for."""
    import numpy as np

    request, *streams = handed
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
        os.close(stream)
    with open(request, "rb") as file:
        file.seek(0)
        target, arguments, environment = json.load(file)
    os.environ.clear()
    os.environ.update(environment)
    np.random.seed()  # as a new process does; the forks would draw the same numbers
    for each, handler in before.items():
        signal.signal(each, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    module, _, function = target.partition(":")
    entry: Entry = getattr(import_module(module), function)
    forks = None
    if len(streams) > 3:
        os.set_inheritable(streams[3], False)
        forks = Forks(socket.socket(fileno=streams[3]))
    return entry(arguments, forks)


def _leave(code: int) -> NoReturn:
    """End as every process does, but for taking apart all that was imported: that takes 0.4 s."""
    try:
        leave(code)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
