"""Processes that begin with torch imported: a server (`fork_server.py`) imports it once, and each process is a fork.

Whoever holds a `Forks` may ask for processes: the executor for workers, and each worker for its trainer. The server
ends when all of them have ended.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

import psutil

from ferbench.contract.executor import module_command

FORKING = sys.platform == "linux"
"""On other systems the libraries do not survive a fork."""
LOST = -signal.SIGKILL
"""The exit code of a process that has outlived its server. Only the server could know the true code. Either both were
killed, or the process has reported its end in another way."""
LOOK_SECONDS = 0.05


class ServerGoneError(OSError):
    """The server has ended without starting the process."""


class Forks:
    """One end of the server's socket."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def start(
        self,
        target: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        may_fork: bool = False,
    ) -> "Forked":
        """Start a process that calls the function `target`, a `module:function`, and exits with its return value.

        The function gets the arguments and, if it `may_fork`, its own `Forks`, else None. `streams` are its standard
        input, output and error. Raises ServerGoneError.
        """
        status, of_server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as request, of_server:  # a file, because a message has a limited length
            request.write(json.dumps([target, list(arguments), dict(environment)]).encode())
            request.flush()
            handed = [of_server.fileno(), request.fileno(), *streams]
            with suppress(OSError):
                socket.send_fds(self._requests, [b"start"], handed + [self._requests.fileno()] * may_fork)
        return Forked(status)


class Forked:
    """A process that the server has started. It behaves like a subprocess.Popen object."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        # A thread or a signal handler may ask while another one waits.
        self._asking = threading.RLock()
        self.returncode: int | None = None
        said = status.recv(16)
        if not said:
            status.close()
            raise ServerGoneError
        self.pid = int(said)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with suppress(ValueError):  # another thread has closed it meanwhile
                _is_readable(self._status, timeout)
            if self._is_orphan() and self._vanishes(timeout):  # without the lock: another thread may kill it meanwhile
                self._keep(LOST)
        return self.returncode

    def _is_orphan(self) -> bool:
        """Whether the server has ended first. If it tells how the process ended, that is kept."""
        with self._asking:
            if self.returncode is not None or not _is_readable(self._status, 0.0):
                return False
            said = self._status.recv(16)
            if said:
                self._keep(int(said))
            return not said

    def _keep(self, code: int) -> None:
        with self._asking:
            if self.returncode is None:
                self.returncode = code
                self._status.close()

    def _vanishes(self, timeout: float | None) -> bool:
        """Whether the process ends in time, after the server has ended before it."""
        until = None if timeout is None else time.monotonic() + timeout
        with suppress(psutil.NoSuchProcess):
            while psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE:
                if until is not None and time.monotonic() >= until:
                    return False
                time.sleep(LOOK_SECONDS)
        return True


class ForkServer(Forks):
    """A server that this process has started."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Returns at once. The first process starts when the server has finished its imports."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(here)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        with there:
            self._process = subprocess.Popen(
                module_command("ferbench.execution.fork_server", str(there.fileno())),
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=dict(environment),
            )

    def end(self) -> str:
        """End the server, but not the processes that it has started. Returns the last line that it printed."""
        self._requests.close()
        self._process.kill()
        self._process.wait()
        with self._log as log:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def _is_readable(stream: socket.socket, timeout: float | None) -> bool:
    poller = select.poll()
    poller.register(stream, select.POLLIN)
    return bool(poller.poll(None if timeout is None else max(0.0, timeout) * 1000))
