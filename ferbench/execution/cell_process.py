"""A cell's process, for an executor whose scheduler starts a supervisor on some machine.

The two sides exchange files that both machines see. The supervisor's `CellProcess` runs a worker, which appends events
to a file. The executor's `EventTail` reads them.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from ferbench.contract.events import Event, Finished, event_line, read_events
from ferbench.contract.executor import Job
from ferbench.execution.crash_record import crash_record, end_of_log, keep_log, why_it_ended
from ferbench.execution.workers import Process, Worker, Workers
from ferbench.records.cell import Cell
from ferbench.records.schema import Status
from ferbench.records.store import RunStore

GRACE_SECONDS = 60.0
"""Seconds that a worker may run after its time limit or after its last event; then it is killed."""
POLL_SECONDS, LOOK_SECONDS = 0.1, 5.0
"""Seconds between two checks whether the worker still runs although it has sent its last event."""
SCHEDULERS_SIGNALS = {signal.SIGUSR1, signal.SIGUSR2}
"""Signals by which SLURM warns that a job's time ends. Only the supervisor gets them; a worker would end unsaved."""


class EventTail:
    """Reads the events that are appended to a file, perhaps on another machine."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def read(self) -> list[Event]:
        """Return the new events; empty while the file does not exist."""
        # Opened each time: when a file is opened, NFS asks the server for its length.
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                events = list(read_events(file))
                self._offset = file.tell()
        except OSError:  # a server that does not answer now will do so later
            return []
        return events


class CellProcess:
    """A worker for one job on this machine. It ends when its supervising process ends."""

    def __init__(self, job: Job, events: Path, log: Path, workers: Workers) -> None:
        """Events, and the text that the process prints, are appended to the two files.

        `workers` start the process. What several cells import is imported only once if they share it.
        """
        self.job, self.events, self.log, self.workers = job, events, log, workers
        self._process: Process | None = None
        self._stopped = self._hangs = False

    def run(self, attempts: int = 1) -> Finished:
        """Run the job to its end. That is also the last event in the file, whatever happens to the process.

        If the process is killed by SIGKILL, it starts again from its checkpoint, `attempts` times in all. Any other
        crash is a failure of the cell, because it would happen again.
        """
        _end_last_line(self.events)
        tail, began = EventTail(self.events, from_end=True), time.monotonic()
        offset = self.log.stat().st_size if self.log.exists() else 0
        code = -signal.SIGKILL
        while code == -signal.SIGKILL and attempts and not (self._stopped or self._hangs):
            code, attempts = self._run_once(tail.path), attempts - 1
            if ends := [event for event in tail.read() if isinstance(event, Finished)]:
                keep_log(self.job, ends[-1].status, self._printed(offset))
                return ends[-1]
            _end_last_line(self.events)
        if self._stopped:
            return self._tell(Finished(status="interrupted", message="stopped before it could save"))
        status: Status = "timeout" if self._hangs else "failed"
        seconds = time.monotonic() - began
        log = self._printed(offset)
        reason = why_it_ended(self.job, code, GRACE_SECONDS if self._hangs else None)
        return self._tell(crash_record(self.job, reason, log=log, status=status, seconds=seconds))

    def stop(self, patience: float) -> None:
        """Ask the worker to save its cell and end; kill it after `patience` seconds. `run` then returns.

        A signal handler may call this while `run` waits.
        """
        self._stopped = True
        process = self._process
        if process is None:
            return
        process.terminate()
        until = time.monotonic() + patience
        while not _has_ended(process) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        if not _has_ended(process):
            process.kill()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has asked, by `ferbench cancel`, that the cell stops or does not begin."""
        return RunStore(self.job.runs).is_cancelled(Cell.model_validate(dict(self.job.cell)))

    def _run_once(self, events: Path) -> int:
        deadline = float("inf") if self.job.timeout is None else time.monotonic() + self.job.timeout + GRACE_SECONDS
        tail, look = EventTail(events, from_end=True), time.monotonic() + LOOK_SECONDS
        worker = self._start(events)
        process = self._process = worker.process
        if self._stopped:  # while it was started
            process.terminate()
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if time.monotonic() >= look:
                    look += LOOK_SECONDS
                    if any(isinstance(event, Finished) for event in tail.read()):
                        # Only the exit is left to do, but a thread of a plugin can prevent it.
                        deadline = time.monotonic() + GRACE_SECONDS
                if time.monotonic() >= deadline:
                    self._hangs = True
                    process.kill()
        finally:  # also if a signal handler leaves this function
            worker.end()
            code = process.wait()
        return code

    def _start(self, events: Path) -> Worker:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SCHEDULERS_SIGNALS)  # processes inherit it
        try:
            with self.log.open("ab") as log:
                return self.workers.start(self.job, events, log.fileno())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _tell(self, ending: Finished) -> Finished:
        with self.events.open("ab") as file:
            file.write(event_line(ending) + b"\n")
        return ending

    def _printed(self, offset: int) -> bytes:
        with self.log.open("rb") as file:
            return end_of_log(file, offset)


def _has_ended(process: Process) -> bool:
    """Whether the process has ended. It does not ask the process object, which the interrupted code may be using."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    return True


def _end_last_line(path: Path) -> None:
    """End a line that a killed worker left incomplete. Without this, the next line would be lost."""
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
