"""What stops a cell from outside: signals and the end of its time. Both let it save first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ferbench.discovery.foreign_code import STOPPING
from ferbench.errors import FerbenchError, InterruptedRun


def is_nohup(number: signal.Signals) -> bool:
    """Whether the signal is SIGHUP, and whoever started this process has it ignored."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


class TimeoutReached(FerbenchError):
    """The cell used up its time; its checkpoint is saved."""


class StopRequests:
    """Asked once a step: None, or the reason to save and leave."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._signal: str | None = None

    def allow(self, seconds: float | None) -> None:
        """Let the time of a cell end in that many seconds; None is without end."""
        self.deadline = None if seconds is None else time.monotonic() + seconds

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP are requests to stop within this block; nohup keeps SIGHUP from being one."""
        if threading.current_thread() is not threading.main_thread():  # only there Python lets handlers be set
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
        self._signal = signal.Signals(number).name

    def __call__(self) -> FerbenchError | None:
        if self._signal is not None:
            return InterruptedRun(f"stopped by {self._signal}; run the same command again to go on")
        if self.deadline is not None and time.monotonic() > self.deadline:
            return TimeoutReached("the time of --timeout is used up; run again with more to go on from here")
        return None
