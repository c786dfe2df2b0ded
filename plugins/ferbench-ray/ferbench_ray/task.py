"""What runs on a node: a function of this module, which Ray calls by its name with a text of JSON."""

import json
import os
import secrets
import threading
import time
from pathlib import Path

from ferbench import CellProcess
from ferbench.contract.executor import Job

SAVING_SECONDS = 60.0
"""That a cell has to save when the run is stopped."""
LOOK_SECONDS = 1.0


class Meeting:
    """A folder in the runs folder where the executor and its tasks meet: events and logs of cells by their numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = folder / "stop"
        """Once it is there, cells save and end."""

    @classmethod
    def create(cls, runs: Path) -> "Meeting":
        """A new one, for this user alone."""
        folder = runs.absolute() / ".ray" / secrets.token_hex(4)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "token").write_text(folder.name)
        return cls(folder)

    def is_here(self) -> bool:
        """Whether this machine sees it."""
        try:
            return (self.folder / "token").read_text() == self.folder.name
        except OSError:
            return False

    def events(self, number: int) -> Path:
        """The file of a cell's events."""
        return self.folder / f"{number}.jsonl"

    def log(self, number: int) -> Path:
        """The file of what a cell's process prints."""
        return self.folder / f"{number}.log"

    def order(self, number: int, job: Job, attempts: int) -> str:
        """What `run_cell` is sent."""
        content = {"number": number, "job": job.to_json(), "attempts": attempts, "directory": os.getcwd()}
        return json.dumps({"folder": str(self.folder), **content})


def sees(folder: str) -> bool:
    """Whether this node sees the folder in which executor and tasks meet."""
    return Meeting(Path(folder)).is_here()


def run_cell(order: str) -> None:
    """Run a cell in a process of its own, to its end; this process never trains."""
    content = json.loads(order)
    meeting, number = Meeting(Path(content["folder"])), content["number"]
    if not meeting.is_here():
        raise FileNotFoundError(f"this node does not see {meeting.folder}; the runs folder must be shared")
    os.chdir(content["directory"])
    process = CellProcess(Job.from_json(content["job"]), meeting.events(number), meeting.log(number))
    threading.Thread(target=_stop_when_asked, args=(process, meeting), daemon=True).start()
    process.run(content["attempts"])


def _stop_when_asked(process: CellProcess, meeting: Meeting) -> None:
    while not meeting.stop.exists():
        time.sleep(LOOK_SECONDS)
    process.stop(SAVING_SECONDS)
