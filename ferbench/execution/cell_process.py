"""A cell's process for an executor whose scheduler has started a supervisor on some machine; what others see of it.

The two sides meet in files that both machines see: the supervisor's `CellProcess` runs `ferbench worker`, which
appends events to a file, and the executor's `EventTail` reads them.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from ferbench.contract.events import Event, Finished, event_line, read_events
from ferbench.contract.executor import Job
from ferbench.execution.crash_record import crash_record, end_of_log, keep_log, why_it_ended
from ferbench.records.schema import Status

GRACE_SECONDS = 60.0
"""How long a worker may run after its time is up, or after it has told its end, until it is killed."""
POLL_SECONDS, LOOK_SECONDS = 0.1, 5.0
"""How often it is asked whether the worker lives, and whether it has told its end all the same."""
SCHEDULERS_SIGNALS = {signal.SIGUSR1, signal.SIGUSR2}
"""By which SLURM warns of the end of a job's time: they are for the supervisor, and would end the worker unsaved."""


class EventTail:
    """The events that are appended to a file, perhaps on another machine."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def read(self) -> list[Event]:
        """Those that are new. There are none while the file is not there."""
        # Opened each time: NFS asks the server how long a file is when it is opened.
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                events = list(read_events(file))
                self._offset = file.tell()
        except OSError:  # a server that does not answer now does so later
            return []
        return events


class CellProcess:
    """`ferbench worker` for one job on this machine. It ends when the process that supervises it does."""

    def __init__(self, job: Job, events: Path, log: Path) -> None:
        """Events and what the process prints are appended to the two files."""
        self.job, self.events, self.log = job, events, log
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = self._hangs = False

    def run(self, attempts: int = 1) -> Finished:
        """Run the job to its end, which is also the last event in the file, whatever happens to the process.

        One that is killed by SIGKILL is begun again from its checkpoint, `attempts` times in all. Any other death is
        the cell's own: it would come again.
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
        """Let the worker save its cell and end; it is killed if it takes longer, in seconds. `run` then returns.

        It may be called in the handler of a signal, while `run` waits.
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

    def _run_once(self, events: Path) -> int:
        command = [*self.job.command(events), "--die-with-parent"]
        deadline = float("inf") if self.job.timeout is None else time.monotonic() + self.job.timeout + GRACE_SECONDS
        tail, look = EventTail(events, from_end=True), time.monotonic() + LOOK_SECONDS
        with self.log.open("ab") as log:
            process = self._process = _start(command, log)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if time.monotonic() >= look:
                    look += LOOK_SECONDS
                    if any(isinstance(event, Finished) for event in tail.read()):
                        # There is nothing left to do but to exit, which a thread of a plugin can prevent.
                        deadline = time.monotonic() + GRACE_SECONDS
                if time.monotonic() >= deadline:
                    self._hangs = True
                    process.kill()
        finally:  # where the handler of a signal leaves this function, too
            assert process.stdin is not None
            process.stdin.close()  # which ends the worker, and whatever it has started
            code = process.wait()
        return code

    def _tell(self, ending: Finished) -> Finished:
        with self.events.open("ab") as file:
            file.write(event_line(ending) + b"\n")
        return ending

    def _printed(self, offset: int) -> bytes:
        with self.log.open("rb") as file:
            return end_of_log(file, offset)


def _start(command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SCHEDULERS_SIGNALS)  # processes inherit it
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has, without Popen's lock: the code that a signal interrupted may hold it."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True


def _end_last_line(path: Path) -> None:
    """End a line that a killed worker has left half written; what is appended to it would be lost."""
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
