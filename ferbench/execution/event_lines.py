"""Writes the events of a process as JSON lines, and ends the process when its parent ends."""

import os
import sys
import threading
from pathlib import Path

from ferbench.contract.events import Event, event_line


class EventLines:
    """Writes events to a file, or to standard output. All other output then goes to standard error."""

    def __init__(self, path: Path | None = None, *, silent: bool = False) -> None:
        """If several processes share a cell, all but one are `silent`."""
        if path is None:
            self._out = os.fdopen(os.dup(1), "wb")
            os.dup2(2, 1)  # plugins, C libraries and subprocesses print too
            sys.stdout = sys.stderr
        else:
            self._out = path.open("ab")
        self._lock = threading.Lock()
        self.silent = silent

    def __call__(self, event: Event) -> None:
        self.line(event_line(event))

    def line(self, line: bytes) -> None:
        """Write one line."""
        if self.silent:
            return
        with self._lock:
            self._out.write(line + b"\n")
            self._out.flush()


def end_with_parent() -> None:
    """End this process, whatever it does, when its standard input ends. The parent holds the other end."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    # Not through sys.stdin: the processes that a stream forks to decode would hold its lock for ever.
    while os.read(0, 1):
        pass
    os._exit(1)
