"""The process that trains a cell, seen from both sides: the supervisor starts it and waits, without torch.

If several processes share the cell, they run under torchrun, and only the first one writes and reports.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from ferbench.contract.events import read_event
from ferbench.contract.executor import Job, module_command
from ferbench.discovery.foreign_code import leave
from ferbench.errors import InterruptedRun
from ferbench.execution.event_lines import EventLines, end_with_parent
from ferbench.execution.forks import Forked, Forks, ServerGoneError
from ferbench.execution.handover import FACTS, REPORT, TEST, CellFacts, TrainerReport
from ferbench.execution.run_cell import Events, Stop
from ferbench.execution.stopping import StopRequests
from ferbench.records.files import write_atomic
from ferbench.records.lease import LeaseLostError

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
TRAINED = b'{"kind":"trained"}'
"""The line by which a trainer asks for the rows of test images."""
PATIENCE_SECONDS = 0.2
PR_SET_DUMPABLE = 4
"""A constant of Linux's prctl.h."""

Process = subprocess.Popen[bytes] | Forked


def train_apart(
    job: Job, folder: Path, events: Events, stop: Stop, tests: Callable[[], None], forks: Forks | None = None
) -> TrainerReport:
    """Train the cell in a separate process. If that process dies, this one dies in the same way.

    The process is one of the `forks`, unless there are none or several processes share the cell.
    """
    _close_memory()
    with _started(job, folder, forks) as (process, output):
        try:
            for line in _lines(process, output, stop):
                if line == TRAINED:
                    tests()
                else:
                    _pass_on(line, events)
        except LeaseLostError:
            process.kill()
            raise
    reason = stop()  # raises if another process has taken over the folder
    if (folder / REPORT).is_file():
        return TrainerReport.model_validate_json((folder / REPORT).read_bytes())
    if isinstance(reason, InterruptedRun):
        raise reason
    if process.returncode == InterruptedRun.exit_code:
        raise InterruptedRun("its trainer was stopped; run the same command again to continue")
    _die_of(process.wait())


@contextmanager
def _started(job: Job, folder: Path, forks: Forks | None) -> Iterator[tuple[Process, int]]:
    """The trainer, which ends with this block, and the read end of its output."""
    (stdin, our_input), (output, stdout) = os.pipe(), os.pipe()
    try:
        process = _start(job, folder, forks, stdin, stdout)
    finally:
        os.close(stdin)
        os.close(stdout)
    try:
        yield process, output
    finally:
        os.close(our_input)
        os.close(output)
        process.wait()


def _start(job: Job, folder: Path, forks: Forks | None, stdin: int, stdout: int) -> Process:
    arguments = (json.dumps(job.to_json()), str(folder))
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}  # torchrun sets its own
    if forks is not None and job.processes == 1:
        with suppress(ServerGoneError):
            return forks.start("ferbench.execution.trainer:train_as_fork", arguments, environment, (stdin, stdout, 2))
    launcher = (*TORCHRUN, str(job.processes), "-m") if job.processes > 1 else ()
    command = module_command(*launcher, "ferbench.execution.trainer", *arguments)
    if launcher and "-P" in command:
        environment["PYTHONSAFEPATH"] = "1"  # for the processes that torchrun starts
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, env=environment)


def _pass_on(line: bytes, events: Events) -> None:
    try:
        events(read_event(line))
    except ValueError:  # printed by its launcher, or before the trainer took over its output
        print(line.decode("utf-8", "replace"), file=sys.stderr)


def _close_memory() -> None:
    """Keep the user's other processes, such as the trainer, from reading labels in this process's memory (Linux).

    Root can still read it. The trainer itself is not protected: a newly started program is open again.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _lines(process: Process, output: int, stop: Stop) -> Iterator[bytes]:
    """The lines of the trainer until it ends. If `stop` returns an interruption, the trainer is asked to end."""
    unread, asked = b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if not asked and isinstance(stop(), InterruptedRun):
                process.terminate()
                asked = True
            if not selector.select(PATIENCE_SECONDS):
                # Processes that it has forked may keep its output open after its end.
                if process.poll() is not None and not selector.select(0):
                    return
                continue
            received = os.read(output, 1 << 16)
            if not received:
                return
            *lines, unread = (unread + received).split(b"\n")
            yield from lines


def _die_of(code: int) -> NoReturn:
    """End in the same way as the trainer, so that whoever watches this process sees the reason."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    raise SystemExit(code or 1)


def train_as_fork(arguments: Sequence[str], forks: Forks | None) -> int:
    """The entry point of a fork: `arguments` are a job as JSON and the folder of its rows."""
    return main(*arguments)


def main(job: str, folder: str) -> int:
    """Train a job that is given as JSON. The exit code is 0 once a report is in the folder."""
    stop = StopRequests()
    with stop.heeding_signals():  # before the import of torch, which takes seconds
        return _train(Job.from_json(json.loads(job)), Path(folder), stop)


def _train(job: Job, folder: Path, stop: StopRequests) -> int:
    from ferbench.discovery.loader import load_registry
    from ferbench.execution.notices import warnings_as_notices
    from ferbench.execution.train_cell import train_cell

    end_with_parent()
    tell = EventLines(silent=os.environ.get("RANK", "0") != "0")
    if job.timeout is not None:
        began = CellFacts.model_validate_json((folder / FACTS).read_bytes()).began
        stop.allow(began + job.timeout - time.monotonic())

    def tests() -> None:
        tell.line(TRAINED)
        while not (folder / TEST).is_file():
            time.sleep(0.01)

    with warnings_as_notices(tell):
        try:
            report = train_cell(job, load_registry(), folder, tell, stop, tests)
        except (InterruptedRun, LeaseLostError) as error:
            return error.exit_code
    if not tell.silent:
        write_atomic(folder / REPORT, report.model_dump_json().encode())
    return 0


if __name__ == "__main__":
    leave(main(*sys.argv[1:]))
