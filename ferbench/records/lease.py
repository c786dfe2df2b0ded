"""Who alone may write in a place, on any file system that makes files exclusively: file locks are not needed.

A lease is a small file beside what it guards, with a number in its name: `.lease.1`. Whoever finds none makes the
first; whoever finds one whose owner is gone makes the next, and only one can. An owner that was paused, and wakes after
another has taken over, learns it from `Lease.check` before it writes anything.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from ferbench.errors import FerbenchError, UsageError, VerificationError
from ferbench.records.files import TEMPORARY_SUFFIX, read_bounded

SECONDS_VARIABLE = "FERBENCH_LEASE_SECONDS"
"""The environment variable that sets how long a lease of another machine lasts without a sign of life."""
DEFAULT_SECONDS = 180.0
"""Longer than the minute for which NFS may show an old state of a folder."""
SIGNS_OF_LIFE = 6
"""In the time that a lease lasts."""
LOOK_SECONDS = 0.2
"""How often one that waits looks."""
MAX_BYTES = 10_000


class LeaseHeldError(FerbenchError):
    """Another process holds the lease; `owner` says which, as far as it is known."""

    def __init__(self, path: Path, owner: "Owner | None") -> None:
        holder = owner or "another process"
        super().__init__(f"{path.parent}: {holder} works on this cell; wait for it, or end it and run again")


class LeaseLostError(FerbenchError):
    """Another process has taken the lease over, since this one gave no sign of life; its work counts."""


class Owner(BaseModel):
    """The process that holds a lease."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    host: str
    machine: str
    """Equal for processes that see each other's numbers: the machine since it was started, and the container."""
    pid: int
    began: float
    """When the process began, in seconds; a number may be that of a later process."""
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since},"

    @classmethod
    def this_process(cls) -> Self:
        """This process, with a token of its own for each lease."""
        return cls(
            token=secrets.token_hex(16),
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            began=psutil.Process().create_time(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def is_alive(self) -> bool | None:
        """Whether it runs, or is stopped, on this machine; None where only signs of life can tell."""
        if self.machine != _machine():
            return None
        try:
            process = psutil.Process(self.pid)
            # A clock that is set changes the time that begins counting, so that equal is too much to ask.
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.began) < 1.0
        except psutil.NoSuchProcess:
            return False


class Lease:
    """The right to write beside `path`, from `acquire` or `wait` to `release`.

    A context manager that acquires it, unless that is done already, and releases it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = Owner.this_process()
        self._mine: Path | None = None
        self._released = threading.Event()

    @property
    def path(self) -> Path:
        """What it stands beside."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder that it guards."""
        return self._path.parent

    @property
    def token(self) -> str:
        """What another process of the owner can `check` the lease by."""
        return self._owner.token

    def acquire(self) -> None:
        """Take the lease; raises LeaseHeldError where another holds it, OSError where its folder cannot be written."""
        while True:
            newest = max(_leases(self._path), default=0)
            found = _file(self._path, newest) if newest else None
            judged = _read(found) if found else None
            if found and not _is_over(found, judged):
                raise LeaseHeldError(self._path, judged)
            mine = _file(self._path, newest + 1)
            if not _create(mine, self._owner):
                continue  # another was quicker; who that is, the next look tells
            # Since the look that one may be released, and another that is alive have taken its place or a later one.
            if (found is None or _read(found) == judged) and max(_leases(self._path)) == newest + 1:
                self._mine = mine
                break
            mine.unlink(missing_ok=True)
        for number in _leases(self._path):
            if number <= newest:
                _file(self._path, number).unlink(missing_ok=True)
        threading.Thread(target=self._live, daemon=True).start()

    def wait(self, stop: Callable[[], FerbenchError | None] = lambda: None) -> Self:
        """Take the lease once it is free; raises what `stop` returns meanwhile, OSError as `acquire` does."""
        while True:
            try:
                self.acquire()
                return self
            except LeaseHeldError:
                if (reason := stop()) is not None:
                    raise reason from None
                time.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Raises LeaseLostError where another process has taken over."""
        check(self._path, self._owner.token)

    def renew(self) -> None:
        """Make the next lease, as one would to take over, so that for its time nobody can: for what must be whole.

        Raises LeaseLostError where another process was quicker.
        """
        self.check()
        assert self._mine is not None
        before, mine = self._mine, _file(self._path, _number(self._mine) + 1)
        if not _create(mine, self._owner):
            self.check()
        self._mine = mine
        before.unlink(missing_ok=True)

    def release(self) -> None:
        """Let others take the lease."""
        self._released.set()
        if self._mine is not None:
            with suppress(OSError):
                if (owner := _read(self._mine)) and owner.token == self._owner.token:
                    self._mine.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        if self._mine is None:
            self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _live(self) -> None:
        while not self._released.wait(seconds() / SIGNS_OF_LIFE):
            with suppress(OSError):
                os.utime(self._mine or self._path)


def check(path: Path, token: str) -> None:
    """Raises LeaseLostError where the newest lease beside a path is not that of the token."""
    newest = max(_leases(path), default=0)
    owner = _read(_file(path, newest)) if newest else None
    if owner is None or owner.token != token:
        raise LeaseLostError(
            f"{path.parent}: {owner or 'another process'} has taken over, since there was no sign of life for "
            f"{seconds():g} s; what it makes counts, and this attempt is discarded"
        )


def is_held(path: Path) -> bool:
    """Whether a process holds the lease, as far as can be seen without writing anything."""
    newest = max(_leases(path), default=0)
    if not newest:
        return False
    found = _file(path, newest)
    owner = _read(found)
    alive = owner.is_alive if owner else None
    return bool(alive) if alive is not None else _age(found, datetime.now(UTC).timestamp()) <= seconds()


def seconds() -> float:
    """How long a lease of another machine lasts without a sign of life."""
    text = os.environ.get(SECONDS_VARIABLE, "")
    try:
        value = float(text or DEFAULT_SECONDS)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{SECONDS_VARIABLE}={text}: not a number of seconds above 0")
    return value


def _is_over(found: Path, owner: Owner | None) -> bool:
    """Whether the owner of a lease is gone. Times are those of the file system, which all machines share."""
    alive = owner.is_alive if owner else None
    if alive is not None:
        return not alive
    clock = found.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with clock.open("xb") as file:
            return _age(found, os.fstat(file.fileno()).st_mtime) > seconds()
    finally:
        clock.unlink(missing_ok=True)


def _age(found: Path, now: float) -> float:
    try:
        return now - found.stat().st_mtime
    except FileNotFoundError:  # just released
        return float("inf")


def _leases(path: Path) -> Iterator[int]:
    """The numbers of the leases beside a path."""
    prefix = f"{path.name}."
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        # A list, since a file system may show a file twice, or not, that comes while one looks.
        for name in [entry.name for entry in entries if entry.name.startswith(prefix)]:
            if name.removeprefix(prefix).isdigit():
                yield int(name.removeprefix(prefix))


def _file(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _number(file: Path) -> int:
    return int(file.name.rpartition(".")[2])


def _create(path: Path, owner: Owner) -> bool:
    """Make a file with all of its content unless there is one; whether it was made."""
    content = owner.model_dump_json().encode()
    temporary = path.with_name(f".{path.name}.{owner.token}{TEMPORARY_SUFFIX}")
    try:
        temporary.write_bytes(content)
        os.link(temporary, path)
        return True
    except FileExistsError:
        # NFS repeats a request whose answer was lost: the second finds what the first has made.
        return path.exists() and _read(path) == owner
    except FileNotFoundError:  # whoever holds the lease has cleared up
        return False
    except OSError:  # a file system without links
        return _create_slowly(path, content)
    finally:
        temporary.unlink(missing_ok=True)


def _create_slowly(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
        return True
    except FileExistsError:
        return False


def _read(path: Path) -> Owner | None:
    """The owner that a lease names; None for none, and for a file that is not whole."""
    try:
        return Owner.model_validate_json(read_bounded(path, MAX_BYTES))
    except (VerificationError, ValidationError):
        return None


@cache
def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    started = boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))
    space = Path("/proc/self/ns/pid")
    return f"{started} {os.readlink(space) if space.exists() else ''}"
