"""Reading bytes that nobody vouches for, and writing files so that a reader never sees half of one."""

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ferbench.errors import DataError, VerificationError

TEMPORARY_SUFFIX = ".tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step. After a crash at any moment the old content or the new one is there, whole."""
    write_together(path.parent, {path.name: data})


def write_together(
    folder: Path, files: Mapping[str, bytes], remove: Iterable[str] = (), check: Callable[[], object] = lambda: None
) -> None:
    """Write several files of one folder; the last of them is the one whose presence says that all are there.

    Everything is on disk under temporary names before the first old file is touched, so a full or read-only disk
    changes nothing. The names in `remove` go away once the new files stand. `check` is called before each of the new
    files is put in its place: what it raises leaves those that are there.
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
            # an old marker beside new data would vouch for files that it does not describe
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


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(error: OSError, path: Path) -> DataError:
    """The reason in the system's words, and what to do."""
    return DataError(
        f"cannot write {path}: {error.strerror or error}; free some space or make the folder writable, "
        "or choose another with --runs or --out"
    )


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of a process that was killed while writing; the caller holds the folder's lock."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            leftover.unlink()


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    A pipe or a device is refused, it might never end; so is a link, which may lead to a file of somebody else.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOFOLLOW)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise VerificationError(f"{path.name} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        if os.path.islink(path):  # not Path.is_symlink, which raises in a folder that may not be looked into
            raise VerificationError(f"{path.name} is a link; put the file itself in its place") from None
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
    finally:
        os.close(descriptor)
