"""Processes that decode images: results in order, a bounded number at a time, and no process outlives its parent."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ferbench.errors import DataError

WINDOW = 4
"""Most items per process that are in progress at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, begin: Callable[[], None] | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in the order of the items; a single worker is this process.

    `begin` is called once in each forked process. `work` is inherited by the fork, so it may hold large objects.
    """
    if workers == 1:
        yield from ((item, work(item)) for item in items)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(work, begin)) as pool:
        running: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                running.append((item, pool.submit(_work_on, item)))
                if len(running) > WINDOW * workers:
                    yield _finished(running)
            while running:
                yield _finished(running)
        except BrokenProcessPool:
            raise DataError(
                "a process that decodes images was killed; is there enough memory? try --workers 1"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(running: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, result = running.popleft()
    return item, result.result()


_work: Callable[[Any], Any] | None = None
"""The work of a forked process, which it does for each item."""


def _work_on(item: Any) -> Any:
    assert _work is not None
    return _work(item)


def _begin(work: Callable[[Any], Any], begin: Callable[[], None] | None) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    if begin is not None:
        begin()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
