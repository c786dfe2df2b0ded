"""Stops a cell from outside: by signals, or when its time ends. In both cases it saves first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ferbench.discovery.foreign_code import STOPPING
from ferbench.errors import FerbenchError, InterruptedRun


def is_nohup(number: signal.Signals) -> bool:
    """Whether the signal is SIGHUP and whoever started this process made it ignore SIGHUP."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


class TimeoutReached(FerbenchError):
    """The cell used up its time; its checkpoint is saved."""


class StopRequests:
    """Called once a step. It returns None, or the reason to save and leave."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._signal: str | None = None
        self.is_signalled = False
        """Whether the whole process was asked to end, and not its cell alone."""

    def allow(self, seconds: float | None) -> None:
        """Give the cell this many seconds; None means no limit."""
        self.deadline = None if seconds is None else time.monotonic() + seconds

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """In this block SIGINT, SIGTERM and SIGHUP are requests to stop. Under nohup, SIGHUP is still ignored."""
        if threading.current_thread() is not threading.main_thread():  # Python sets handlers only in the main thread
            yield
            return
        heeded = [number for number in STOPPING if not is_nohup(number)]
        before = {number: signal.signal(number, self._on_signal) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signal, self.is_signalled = signal.Signals(number).name, True

    def __call__(self) -> FerbenchError | None:
        if self._signal is not None:
            return InterruptedRun(f"stopped by {self._signal}; run the same command again to continue")
        if self.deadline is not None and time.monotonic() > self.deadline:
            return TimeoutReached("the time of --timeout has passed; run again with a longer one to continue from here")
        return None
