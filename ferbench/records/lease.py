"""Leases give one process at a time the right to write in a folder.

They work on any file system that can create a file exclusively, without file locks. A lease is a small file with a
number in its name, `.lease.1`, in the folder that it guards. A process that finds no lease creates the first one. If
the owner of a lease is gone, the next process creates the lease with the next number; only one process can. An owner
that was paused, and wakes up after another process took over, gets an error from `Lease.check` before it writes.
"""

import os
import secrets
import shutil
import socket
import sys
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
"""Seconds that a lease of another machine lasts without a sign of life; by default 180."""
DEFAULT_SECONDS = 180.0
"""Longer than the minute for which NFS may show an old state of a folder."""
SIGNS_OF_LIFE = 6
"""Number of signs of life in the time that a lease lasts."""
LOOK_SECONDS = 0.2
"""Interval at which a waiting process tries to take the lease."""
LOOKS = 10
"""How often an owner looks again for its own lease before it takes it for lost."""
MAX_BYTES = 10_000


class LeaseHeldError(FerbenchError):
    """Another process holds the lease; `owner` is that process, if known."""

    def __init__(self, path: Path, owner: "Owner | None") -> None:
        self.owner, holder = owner, owner or "another process"
        super().__init__(f"{path.parent}: {holder} works on this cell; wait for it, or stop it and run again")


class LeaseLostError(FerbenchError):
    """Another process took the lease over because this one gave no sign of life; the other one's work counts."""


class Owner(BaseModel):
    """The process that holds a lease."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    host: str
    machine: str
    """Equal for processes that see each other's process numbers: identifies the boot and the container."""
    pid: int
    started: float
    """Start time of the process in seconds, because a later process may get the same number."""
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since},"

    @classmethod
    def this_process(cls) -> Self:
        """This process as an owner, with a new token for each lease."""
        return cls(
            token=secrets.token_hex(16),
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            started=_start_time(psutil.Process()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def is_alive(self) -> bool | None:
        """Whether the process still exists; None if only signs of life can tell.

        So it is if it runs on another machine, or for another user whose processes are hidden (/proc with hidepid).
        """
        if self.machine != _machine():
            return None
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(_start_time(process) - self.started) < 1.0
        except psutil.NoSuchProcess:
            return None if _belongs_to_others(self.pid) else False


class Lease:
    """The right to write in the folder of `path`, from `acquire` or `wait` to `release`.

    As a context manager it acquires the lease, unless this instance has it already, and releases it at the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = Owner.this_process()
        self._mine: Path | None = None
        self._released = threading.Event()

    @property
    def path(self) -> Path:
        """The path that the lease's file name begins with."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder that it guards."""
        return self._path.parent

    @property
    def token(self) -> str:
        """The token by which other processes of the owner can `check` the lease."""
        return self._owner.token

    def working_folder(self, name: str) -> Path:
        """The folder `NAME-TOKEN` beside the lease, for work that is not finished. It may not exist."""
        return self.folder / f"{name}-{self.token[:8]}"

    def claim(self, name: str) -> Path:
        """Give what earlier owners have left in their working folders to this owner's, and return that folder.

        It must be called once, when the lease has just been taken. From then on an earlier owner that was paused and
        wakes up finds no folder to write in. Of several folders the fullest is kept.
        """
        mine, left = self.working_folder(name), sorted(self.folder.glob(f"{name}-*"), key=_files_below)
        if left:
            os.rename(left.pop(), mine)
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        return mine

    def withdraw(self, name: str) -> None:
        """Remove the working folder of an owner that has lost the lease, unless its successor has still to claim it."""
        mine = self.working_folder(name)
        if set(self.folder.glob(f"{name}-*")) - {mine}:
            shutil.rmtree(mine, ignore_errors=True)

    def acquire(self) -> None:
        """Take the lease; raises LeaseHeldError if another process holds it, OSError if the folder is not writable."""
        while True:
            newest = max(_leases(self._path), default=0)
            found = _file(self._path, newest) if newest else None
            judged = _read(found) if found else None
            if found and not _is_over(found, judged):
                raise LeaseHeldError(self._path, judged)
            mine = _file(self._path, newest + 1)
            if not _create(mine, self._owner):
                continue  # another process was quicker; the next iteration finds out which
            # Meanwhile the old lease may have been released, and a live process may have taken its number or a later.
            if (found is None or _read(found) == judged) and max(_leases(self._path)) == newest + 1:
                self._mine = mine
                break
            mine.unlink(missing_ok=True)
        for number in _leases(self._path):
            if number <= newest:
                _file(self._path, number).unlink(missing_ok=True)
        threading.Thread(target=self._live, daemon=True).start()

    def wait(self, stop: Callable[[], FerbenchError | None] = lambda: None) -> Self:
        """Wait until the lease is free, then take it.

        If `stop` returns an error while waiting, raises that error. Raises OSError as `acquire` does.
        """
        return self._take(stop, lambda: False)

    def outlast(self, stop: Callable[[], FerbenchError | None] = lambda: None, *, signs_count: bool = True) -> Self:
        """Take the lease as soon as its holder is known to be gone. It waits at most as long as a lease lasts.

        A process on another machine that has ended leaves its lease behind. Only the missing signs of life show that it
        has ended. A sign of life raises LeaseHeldError at once; with `signs_count=False` that error is raised when the
        time is up. Raises the error that `stop` returns while waiting, and OSError as `acquire` does.
        """
        until, seen = time.monotonic() + seconds() + 2 * LOOK_SECONDS, self._newest_sign()
        return self._take(stop, lambda: time.monotonic() >= until or (signs_count and self._newest_sign() != seen))

    def _take(self, stop: Callable[[], FerbenchError | None], is_in_vain: Callable[[], bool]) -> Self:
        while True:
            try:
                self.acquire()
                return self
            except LeaseHeldError:
                if is_in_vain():
                    raise
            if (reason := stop()) is not None:
                raise reason
            time.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Raise LeaseLostError if another process has taken over."""
        check(self._path, self._owner.token)

    def renew(self) -> None:
        """Replace the lease by the next one, so that nobody can take over during a write that must be complete.

        Raises LeaseLostError if another process was quicker.
        """
        self.check()
        assert self._mine is not None
        before, mine = self._mine, _file(self._path, _number(self._mine) + 1)
        if not _create(mine, self._owner):
            self.check()
        self._mine = mine
        before.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lease up, so that others can take it."""
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

    def _newest_sign(self) -> tuple[int, int]:
        """The number of the newest lease, and when its holder showed the last sign of life; zeros without one."""
        newest = max(_leases(self._path), default=0)
        try:
            return newest, _file(self._path, newest).stat().st_mtime_ns
        except FileNotFoundError:
            return 0, 0

    def _live(self) -> None:
        while not self._released.wait(seconds() / SIGNS_OF_LIFE):
            with suppress(OSError):
                os.utime(self._mine or self._path)


def check(path: Path, token: str) -> None:
    """Raise LeaseLostError if the newest lease of a path does not have this token, or has stayed unreadable."""
    owner = _newest_owner(path)
    for _ in range(LOOKS):  # a server may not answer at once, and an owner may be renewing its lease
        if owner is not None:
            break
        time.sleep(LOOK_SECONDS)
        owner = _newest_owner(path)
    if owner is None:
        raise LeaseLostError(
            f"{path.parent}: its lease is gone or unreadable; another process has taken over, or somebody has moved or "
            "removed the folder; this attempt is discarded"
        )
    if owner.token != token:
        raise LeaseLostError(
            f"{path.parent}: {owner} has taken over, because this process gave no sign of life for {seconds():g} s; "
            "the other result counts, and this attempt is discarded"
        )


def _newest_owner(path: Path) -> Owner | None:
    newest = max(_leases(path), default=0)
    return _read(_file(path, newest)) if newest else None


def is_held(path: Path) -> bool:
    """Whether a process seems to hold the lease; writes nothing, so it relies on the clock of this machine."""
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
        raise UsageError(f"{SECONDS_VARIABLE}={text}: it must be a number of seconds above 0; correct it or unset it")
    return value


def _is_over(found: Path, owner: Owner | None) -> bool:
    """Whether the owner of a lease is gone. Times are compared on the file system's clock, which all machines share."""
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
    """Yield the numbers of the leases of a path."""
    prefix = f"{path.name}."
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        # A list, because a file system may show a file twice, or not at all, if it is created during the scan.
        for name in [entry.name for entry in entries if entry.name.startswith(prefix)]:
            if name.removeprefix(prefix).isdigit():
                yield int(name.removeprefix(prefix))


def _files_below(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _file(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _number(file: Path) -> int:
    return int(file.name.rpartition(".")[2])


def _create(path: Path, owner: Owner) -> bool:
    """Create a file with its complete content, unless it exists; return whether it was created."""
    content = owner.model_dump_json().encode()
    temporary = path.with_name(f".{path.name}.{owner.token}{TEMPORARY_SUFFIX}")
    try:
        temporary.write_bytes(content)
        return _link(temporary, path, owner)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path, owner: Owner) -> bool:
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        # NFS repeats a request if its answer was lost; the second request then finds the file of the first.
        return path.exists() and _read(path) == owner
    except FileNotFoundError:  # the holder of the lease has removed the temporary file
        return False
    except OSError:  # the file system has no hard links
        return _create_slowly(path, temporary.read_bytes())


def _create_slowly(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
        return True
    except FileExistsError:
        return False
    except OSError:  # no space for the content: an empty lease would keep everybody out for a while
        path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> Owner | None:
    """The owner named in a lease file; None if there is no file or it is incomplete."""
    try:
        return Owner.model_validate_json(read_bounded(path, MAX_BYTES))
    except (VerificationError, ValidationError):
        return None


def _belongs_to_others(pid: int) -> bool:
    """Whether a process that /proc does not show exists for another user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _start_time(process: psutil.Process) -> float:
    """When a process started, in seconds. On Linux they count from the boot, so that setting the clock changes nothing.

    Elsewhere the system keeps the time of day at which the process started.
    """
    boot = psutil.boot_time() if sys.platform == "linux" else 0.0
    return process.create_time() - boot


@cache
def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    started = boot.read_text().strip() if boot.exists() else str(int(psutil.boot_time()))
    space = Path("/proc/self/ns/pid")
    return f"{started} {os.readlink(space) if space.exists() else ''}"
