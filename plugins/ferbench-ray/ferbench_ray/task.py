"""The code that runs on a node: a function of this module, which Ray calls by its name with JSON text."""

import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ferbench import CellProcess, Workers
from ferbench.contract.executor import Job

SAVING_SECONDS = 60.0
"""Seconds that a cell has to save when the run is stopped."""
LOOK_SECONDS = 1.0


class Meeting:
    """A folder in the runs folder for files that executor and tasks exchange: events and logs of cells by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = folder / "stop"
        """If this file exists, cells save and end."""

    @classmethod
    def create(cls, runs: Path) -> "Meeting":
        """Make a new folder, for this user only."""
        folder = runs.absolute() / ".ray" / secrets.token_hex(4)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "token").write_text(folder.name)
        return cls(folder)

    def is_here(self) -> bool:
        """Whether this machine sees the folder."""
        try:
            return (self.folder / "token").read_text() == self.folder.name
        except OSError:
            return False

    def events(self, number: int) -> Path:
        """The file of a cell's events."""
        return self.folder / f"{number}.jsonl"

    def log(self, number: int) -> Path:
        """The file with the output of a cell's process."""
        return self.folder / f"{number}.log"

    def order(self, jobs: Mapping[int, Job], attempts: int) -> str:
        """The argument of `run_cells`: cells by their numbers, as JSON text."""
        content = {
            "folder": str(self.folder),
            "directory": os.getcwd(),
            "attempts": attempts,
            "jobs": [[number, job.to_json()] for number, job in jobs.items()],
        }
        return json.dumps(content)


def lacks(folder: str, directory: str) -> str:
    """The folder that this node lacks, if any: the one that executor and tasks share, or the one where tasks run."""
    if not Meeting(Path(folder)).is_here():
        return folder
    return "" if os.path.isdir(directory) else directory


def run_cells(order: str) -> None:
    """Run cells one after another to their ends, each in its own processes. This process never trains.

    The processes are forks of one server, which imports torch for all of them.
    """
    content = json.loads(order)
    meeting = Meeting(Path(content["folder"]))
    if not meeting.is_here():
        raise FileNotFoundError(f"this node does not see {meeting.folder}; the runs folder must be shared")
    os.chdir(content["directory"])
    with Workers() as workers:
        for number, job in content["jobs"]:
            cell = CellProcess(Job.from_json(job), meeting.events(number), meeting.log(number), workers)
            with _stopped_when_asked(cell, meeting):
                cell.run(content["attempts"])


@contextmanager
def _stopped_when_asked(cell: CellProcess, meeting: Meeting) -> Iterator[None]:
    ended = threading.Event()

    def watch() -> None:
        while not meeting.stop.exists():
            if ended.wait(LOOK_SECONDS):
                return
        cell.stop(SAVING_SECONDS)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
