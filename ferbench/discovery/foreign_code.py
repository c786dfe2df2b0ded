"""Run code of plugins so that nothing it raises, prints or leaves behind harms others: imports, hooks, exit."""

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
"""The signals by which a person, a scheduler or a closing terminal stops a run."""
PATIENCE_SECONDS = 1.0
"""How long an exiting process waits for threads that plugins have started."""


class ForeignError(Exception):
    """An error raised by code of a plugin, on one line; `__cause__` is the error itself."""


class Pressed(KeyboardInterrupt):
    """The person pressed Ctrl-C, or the scheduler sent a signal with the same effect."""


@contextmanager
def foreign_code(*passing: type[BaseException]) -> Iterator[None]:
    """Run code of a plugin: its errors become a ForeignError, except for Ctrl-C and the types in `passing`."""
    with _telling_interrupts_apart():
        try:
            yield
        except BaseException as error:
            if isinstance(error, (Pressed, *passing)):
                raise
            raise ForeignError(describe(error)) from error


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Redirect output in this block to standard error, also that of C libraries and subprocesses.

    It works only in the main thread, because all threads share standard output.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with suppress(AttributeError, OSError, ValueError):  # standard output is closed, or nobody reads it
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
    """Return type and text of an error on one line."""
    return one_line(f"{type(error).__name__}: {text_of(error)}").removesuffix(":")


def text_of(error: BaseException) -> str:
    """Return the text of an error, even if its `__str__` fails; lone surrogates are escaped."""
    try:
        text = str(error)
    except BaseException:
        text = "its message cannot be read"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: str) -> str:
    """Return the text without line breaks."""
    return " ".join(text.split())


def leave(code: int) -> NoReturn:
    """Flush the output and end this process with an exit code, even if threads of a plugin still run."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # the stream is closed, or nobody reads it
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
    """In this block a signal raises Pressed instead of KeyboardInterrupt, which a plugin could raise itself."""
    handled = []
    if threading.current_thread() is threading.main_thread():  # Python allows to set handlers only there
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
