"""Warnings that are logged while a cell runs, such as that of a plugin's hook that failed, as events."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferbench.contract.events import Event, Notice


class Notices(logging.Handler):
    """Sends warnings on as notices."""

    def __init__(self, events: Callable[[Event], None]) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """One warning."""
        self._events(Notice(text=f"warning: {record.getMessage()}"))


@contextmanager
def warnings_as_notices(events: Callable[[Event], None]) -> Iterator[None]:
    """Within it warnings are told as events; without a handler of its own, logging would print them as they are."""
    handler = Notices(events)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
