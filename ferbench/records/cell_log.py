"""The log of a cell, next to its record: the events of all its attempts, as JSON lines with their time."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ferbench.contract.events import Event, Started, Step, event_line, read_event

CELL_LOG = "log.jsonl"
STEP_SECONDS = 10.0
"""Shortest time between two logged steps."""
END_BYTES = 65_536
"""How many bytes at the end of a log are searched for its last step."""


@dataclass(frozen=True)
class LogLine:
    """One event and the time when it was logged, ISO 8601 in UTC."""

    time: str
    event: Event


class CellLog:
    """Append events to the log of a cell. If the disk is full, the log is incomplete, but the cell goes on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CELL_LOG
        self._step_told = datetime.min.replace(tzinfo=UTC)

    def __call__(self, event: Event) -> None:
        now = datetime.now(UTC)
        if isinstance(event, Step):
            if (now - self._step_told).total_seconds() < STEP_SECONDS:
                return
            self._step_told = now
        line = json.dumps({"time": now.isoformat(timespec="milliseconds"), **json.loads(event_line(event))})
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_log(file: IO[bytes]) -> Iterator[LogLine]:
    """Yield the complete lines from here to the end of a log; call it again for later lines. `file` is binary."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        with suppress(ValueError, KeyError, TypeError):
            content = json.loads(line)
            time = str(content.pop("time"))
            yield LogLine(time, read_event(json.dumps(content).encode()))


def newest_step(folder: Path) -> tuple[Step | None, float | None]:
    """The newest step in a cell's log, and the seconds of a whole cell at the speed of its attempt's last steps.

    None for what is not there: before the first step, and before the second line of a step.
    """
    steps: list[tuple[datetime, Step]] = []
    with suppress(OSError), (folder / CELL_LOG).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
        for line in read_log(file):
            if isinstance(line.event, Started):  # what earlier attempts did took other time
                steps.clear()
            elif isinstance(line.event, Step):
                with suppress(ValueError):
                    steps.append((datetime.fromisoformat(line.time), line.event))
    if not steps:
        return None, None
    (began, first), (now, last) = steps[0], steps[-1]
    taken, seconds = last.step - first.step, (now - began).total_seconds()
    return last, seconds / taken * last.steps if taken > 0 and seconds > 0 else None
