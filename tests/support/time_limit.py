"""What must end in time."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 30
"""For one tree or one command, on the slowest machine."""


class OverTime(BaseException):
    """Not a TimeoutError, which is an OSError that whoever reads files would take for damage."""


@contextmanager
def time_limit() -> Iterator[None]:
    """A block that must end in time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OverTime(f"still running after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
