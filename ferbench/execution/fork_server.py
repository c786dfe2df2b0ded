"""The process that `forks.py` starts. It imports torch and all else that every cell needs, and forks on request.

It runs no plugin code, opens no data and uses no GPU. So a fork has nothing in its memory that a new process would not
import, and it may choose its own GPU and number of threads.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from ferbench.discovery.foreign_code import STOPPING, leave
from ferbench.execution.forks import Forks

IMPORTED = (
    "pyarrow.dataset",  # otherwise the first Parquet file would import it, and pandas with it
    "torch._dynamo",  # otherwise the first optimizer would import it
    "timm",
    "ferbench.discovery.loader",
    "ferbench.execution.run_cell",
    "ferbench.execution.train_cell",
    "ferbench.execution.worker",
)

Entry = Callable[[Sequence[str], Forks | None], int]
Handlers = Mapping[signal.Signals, Any]


def main(requests: socket.socket) -> None:
    """Serve until no process is left that can ask. A fork runs the requested function and ends with its exit code."""
    before = {each: signal.getsignal(each) for each in STOPPING}
    for each in STOPPING:  # the signals are meant for the processes that ask; the server ends with them
        signal.signal(each, _pass)
    for name in IMPORTED:
        import_module(name)
    _remember_code()
    gc.collect()
    gc.freeze()  # so that garbage collection in a fork does not copy the shared memory
    handed = _serve(requests)
    if handed is not None:
        _leave(_code_of(lambda: _begin(handed, before)))


def _pass(number: int, frame: FrameType | None) -> None:
    pass


def _remember_code() -> None:
    """Compute the hash of ferbench's files now, so that it belongs to the imported code even if the files change."""
    from ferbench.cells.code_stamps import code

    code()


def _serve(requests: socket.socket) -> list[int] | None:
    """Fork for every request. Returns the received descriptors in each fork, and None here when nobody can ask."""
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
        # A signal must reach either the server or the fork, not the fork with the server's handlers.
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
        with suppress(OSError):  # the process that asked has ended; then the fork's input ends too
            status.send(str(pid).encode())


def _tell_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            with children.pop(found[0]) as asked, suppress(OSError):
                asked.send(str(os.waitstatus_to_exitcode(found[1])).encode())


def _begin(handed: Sequence[int], before: Handlers) -> int:
    """Become the process that was requested."""
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
    np.random.seed()  # a new process has its own random state; without this, all forks would draw the same numbers
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


def _code_of(run: Callable[[], int]) -> int:
    """The exit code of a function, also if it ends by `sys.exit` or an error."""
    try:
        return run()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except Exception:
        traceback.print_exc()
    return 1


def _leave(code: int) -> NoReturn:
    """End like every process, but without removing the imported modules, which takes 0.4 s."""
    try:
        leave(code)
    finally:
        sys.stderr.flush()
        # Libraries complain of what is left when modules are not removed; that would stand for the reason of a crash.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
