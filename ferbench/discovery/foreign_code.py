"""Code of plugins, run so that whatever it raises, prints or leaves behind harms no other: imports, hooks, the end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGINT,)
"""The signals by which a person, a scheduler or a terminal that closes ends a run."""
PATIENCE_SECONDS = 1.0
"""How long a process waits at its end for the threads that plugins have started."""


class ForeignError(Exception):
    """What code of a plugin has raised, on one line; `__cause__` is the error itself."""


class Pressed(KeyboardInterrupt):
    """The person has pressed Ctrl-C, or the scheduler has sent a signal that does the same."""


@contextmanager
def foreign_code(*passing: type[BaseException]) -> Iterator[None]:
    """Run code of a plugin: what it raises is a ForeignError, but for a Ctrl-C, and for what may pass as it is."""
    with _telling_interrupts_apart():
        try:
            yield
        except BaseException as error:
            if isinstance(error, (Pressed, *passing)):
                raise
            raise ForeignError(describe(error)) from error


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What is printed within the block goes to standard error, also by C libraries and subprocesses.

    Only in the main thread: standard output is that of all threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
        sys.stdout.flush()
    kept = None
    with suppress(OSError):
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def describe(error: BaseException) -> str:
    """Type and text of an error on one line."""
    return one_line(f"{type(error).__name__}: {text_of(error)}").removesuffix(":")


def text_of(error: BaseException) -> str:
    """The text of an error, also of one that cannot make its own; halves of characters are escaped."""
    try:
        text = str(error)
    except BaseException:
        text = "its text cannot be made"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def leave(code: int) -> NoReturn:
    """End this process with an exit code, though threads of a plugin may still run: what is left is written first."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    until = time.monotonic() + PATIENCE_SECONDS
    left = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    for thread in left:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in left):
        os._exit(code)
    sys.exit(code)


@contextmanager
def _telling_interrupts_apart() -> Iterator[None]:
    """Within the block a signal that would raise KeyboardInterrupt raises a Pressed, which no plugin does."""
    handled = []
    if threading.current_thread() is threading.main_thread():  # only there Python lets handlers be set
        handled = [each for each in STOPPING if signal.getsignal(each) is signal.default_int_handler]
    for number in handled:
        signal.signal(number, _press)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.default_int_handler)


def _press(number: int, frame: FrameType | None) -> NoReturn:
    raise Pressed
