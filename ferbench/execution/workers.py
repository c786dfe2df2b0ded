"""Starts the processes of cells for a supervisor: all of them are forks of one server."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ferbench.contract.executor import Job
from ferbench.errors import ExecutorError
from ferbench.execution.forks import FORKING, Forked, ForkServer, ServerGoneError
from ferbench.execution.worker import THREAD_VARIABLES

WORKER = "ferbench.execution.worker:work_as_fork"

Process = subprocess.Popen[bytes] | Forked


@dataclass(frozen=True)
class Worker:
    """A process that runs one job. It ends when the process that started it ends."""

    process: Process
    stdin: int
    """Our end of its standard input."""

    def end(self) -> None:
        """End it, without saving, and all that it has started. Call this once."""
        os.close(self.stdin)


class Workers:
    """Starts workers. The first one starts a server for them; if the server dies, another one is started."""

    def __init__(self) -> None:
        self._servers: dict[int, ForkServer] = {}
        """Servers by number of threads, which libraries read when they are loaded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for server in self._servers.values():
            server.end()

    def start(self, job: Job, events: Path, log: int, environment: Mapping[str, str] | None = None) -> Worker:
        """Start a worker for a job. It appends its events to a file and prints to the descriptor `log`.

        Without `environment` it gets that of this process. Raises ExecutorError if no worker can be started.
        """
        stdin, our_end = os.pipe()
        try:
            return Worker(self._process(job, events, (stdin, log, log), environment or os.environ), our_end)
        except BaseException:
            os.close(our_end)
            raise
        finally:
            os.close(stdin)

    def _process(
        self, job: Job, events: Path, streams: tuple[int, int, int], environment: Mapping[str, str]
    ) -> Process:
        if not FORKING:
            stdin, stdout, stderr = streams
            command = [*job.command(events), "--die-with-parent"]
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment)
        arguments, last_line = [json.dumps(job.to_json()), str(events)], ""
        for _ in range(2):  # the next server may work if this one was killed
            server = self._server(job.threads)
            try:
                return server.start(WORKER, arguments, environment, streams, may_fork=True)
            except ServerGoneError:
                last_line = server.end()
                del self._servers[job.threads]
        raise ExecutorError(
            "the process that starts cells has ended twice before it started one"
            f"{f' ({last_line})' if last_line else ''}; `python -m ferbench doctor` looks at this installation"
        )

    def _server(self, threads: int) -> ForkServer:
        if threads not in self._servers:
            self._servers[threads] = ForkServer({**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}})
        return self._servers[threads]
