"""Turns warnings that are logged while a cell runs into events, such as the failure of a plugin's hook."""

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
    """Within this block warnings become events. Without its own handler, logging would print them."""
    handler = Notices(events)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
