"""Writes the events of a process as JSON lines, and ends the process when its parent ends."""

import errno
import fcntl
import os
import stat
import sys
import threading
from pathlib import Path

from ferbench.contract.events import Event, Finished, event_line

FULL = (errno.ENOSPC, errno.EDQUOT)


class EventLines:
    """Writes events to a file, or to standard output. All other output then goes to standard error."""

    def __init__(self, path: Path | None = None, *, silent: bool = False) -> None:
        """If several processes share a cell, all but one are `silent`."""
        if path is None:
            self._out = os.dup(1)
            os.dup2(2, 1)  # plugins, C libraries and subprocesses print too
            sys.stdout = sys.stderr
        else:
            self._out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._lock = threading.Lock()
        self._is_torn = False
        self.silent = silent

    def __call__(self, event: Event) -> None:
        """Write an event. If the disk is full, only the last one, `Finished`, is worth an error."""
        try:
            self.line(event_line(event))
        except OSError as error:
            if error.errno not in FULL or isinstance(event, Finished):
                raise

    def line(self, line: bytes) -> None:
        """Write one line."""
        if self.silent:
            return
        with self._lock:
            rest = (b"\n" if self._is_torn else b"") + line + b"\n"
            while rest:
                self._is_torn = True  # if it fails, the next line begins after the part that was written
                rest = rest[os.write(self._out, rest) :]
            self._is_torn = False


def end_with_parent() -> None:
    """End this process, whatever it does, when its standard input ends. The parent holds the other end.

    On Linux the kernel itself sends a signal then, which also ends a process whose threads cannot run any more.
    """
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(0).st_mode):
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    # Not through sys.stdin: the processes that a stream forks to decode would hold its lock for ever.
    while os.read(0, 1):
        pass
    os._exit(1)
