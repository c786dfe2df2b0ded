"""Events of a process as JSON lines, and its end when the process that wants them ends."""

import os
import sys
import threading
from pathlib import Path

from ferbench.contract.events import Event, event_line


class EventLines:
    """The file of the events, or standard output for events alone: what else is printed goes to standard error."""

    def __init__(self, path: Path | None = None, *, silent: bool = False) -> None:
        """Of several processes that share a cell all but one are `silent`."""
        if path is None:
            self._out = os.fdopen(os.dup(1), "wb")
            os.dup2(2, 1)  # plugins, C libraries and subprocesses print, too
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
    """End this process, whatever it does, once its standard input ends: the parent holds the other end."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    # Not through sys.stdin, whose lock would be held for ever in the processes that a stream forks to decode.
    while os.read(0, 1):
        pass
    os._exit(1)
