"""Read files that may not be trusted, and write files so that a reader never sees half of one."""

import errno
import hashlib
import math
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ferbench.errors import DataError, VerificationError

TEMPORARY_SUFFIX = ".tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step. After a crash at any time, the file has either its complete old or new content."""
    write_together(path.parent, {path.name: data})


def write_together(
    folder: Path, files: Mapping[str, bytes], remove: Iterable[str] = (), check: Callable[[], object] = lambda: None
) -> None:
    """Write several files of one folder; if the last of them exists, all of them are complete.

    All data is on disk under temporary names before the first old file is changed, so a full or read-only disk changes
    nothing. The files named in `remove` are deleted after the new files are in place. `check` is called before each
    rename: if it raises, the remaining old files stay. Raises DataError if the folder cannot be written.
    """
    staged: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            target = folder / name
            temporary = folder / f".{name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
            staged[target] = temporary
            _write_new(temporary, data)
        check()
        if len(staged) > 1:
            # an old marker next to new data would describe files that are no longer there
            list(staged)[-1].unlink(missing_ok=True)
        for target, temporary in staged.items():
            check()
            os.replace(temporary, target)
        for name in remove:
            (folder / name).unlink(missing_ok=True)
        _sync_folder(folder)
    except OSError as error:
        raise unwritable(error, folder / list(files)[-1]) from error
    finally:
        for temporary in staged.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_out(path: Path, data: bytes) -> None:
    """Write to a path that a person named: replace a file or the one that a link leads to, fill a pipe or a device."""
    if not _is_written_into(path):
        write_atomic(Path(os.path.realpath(path)), data)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(error, path) from error


def check_writable(path: Path) -> None:
    """Raise DataError if `write_out` could not write this file: before a long computation, not after it."""
    if _is_written_into(path):
        return
    folder = Path(os.path.realpath(path)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(error, path) from error


def _is_written_into(path: Path) -> bool:
    """Whether the path is a pipe or a device, or a name for one of this process's open files as /dev/stdout is."""
    names_open_file = os.path.abspath(path).startswith(("/dev/", "/proc/"))
    return path.exists() and not path.is_dir() and (names_open_file or not path.is_file())


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(error: OSError, path: Path) -> DataError:
    """A DataError with the operating system's reason and a remedy."""
    return DataError(
        f"cannot write {path}: {error.strerror or error}; free some space or make the folder writable, "
        "or choose another folder with --runs or --out"
    )


def remove_leftovers(folder: Path, name: str = "", older_than: float = -math.inf) -> None:
    """Delete temporary files of a process that was killed while writing; only those for `name`, if it is given.

    A process that still writes one gets an error. So the caller must hold the folder's lease, or name an age in seconds
    that no living writer reaches.
    """
    for leftover in folder.glob(f".{name}*{TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > older_than:
                leftover.unlink()


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes; raises VerificationError otherwise.

    A pipe or a device is refused because it might never end, a link because it may point to somebody else's file.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise VerificationError(f"{path.name} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        if os.path.islink(path):  # Path.is_symlink would raise in a folder without access
            raise VerificationError(f"{path.name} is a link; replace it by the file itself") from None
        raise VerificationError(f"cannot read {path.name}: {error.strerror or error}") from None
    if len(data) > limit:
        raise VerificationError(f"{path.name} is larger than {limit:,} bytes")
    return data


def _write_new(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):  # some file systems do not sync folders; all is written
            raise
    finally:
        os.close(descriptor)
