"""Folders and files of the cache: where they are, and whether they have changed since they were written."""

import hashlib
import json
import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow
import xxhash

from ferbench.errors import DataError
from ferbench.records.cell import digest
from ferbench.records.files import write_atomic
from ferbench.records.formats import CACHE_FORMAT, FORMAT, check_format
from ferbench.records.lease import Lease, LeaseLostError

CACHE_VARIABLE = "FERBENCH_CACHE"
"""Folder of packed datasets, indexes, face boxes and cached stages; by default `~/.cache/ferbench`."""
META = "meta.json"
DIGEST, FILES = "digest", "files"
HASHED_TOGETHER = 4
"""Files that are hashed at the same time; a few processors hash as fast as a disk reads."""
cache_hash = xxhash.xxh3_128
log = logging.getLogger(__name__)


class DamagedCacheError(DataError):
    """A file of the cache has changed since it was written; its content can be made again."""


def cache_root() -> Path:
    """The folder that `FERBENCH_CACHE` names, else `ferbench` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferbench"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with the current format number and its own digest, atomically."""
    sealed = {FORMAT: CACHE_FORMAT, **content}
    write_atomic(path, json.dumps({**sealed, DIGEST: digest(sealed)}, indent=1, sort_keys=True).encode())


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote; raises ValueError for anything else, OSError if it cannot be read."""
    return _unsealed(path, _parsed(path))


def _unsealed(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    if content.pop(DIGEST, None) != digest(content):
        raise ValueError(f"{path.name} has changed since it was written")
    return content


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of a folder's `meta.json`; raises the errors of `read_sealed`."""
    return read_sealed(folder / META)


def write_meta(folder: Path, meta: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write the file that marks a folder as complete, with the `cached_file_digest` of each of its files."""
    write_sealed(folder / META, {**meta, FILES: dict(files)})


def check_files(folder: Path, meta: Mapping[str, Any], *names: str) -> None:
    """Compare files with the digests taken when they were written: all files of the folder, or only `names`.

    A file is hashed once per process and state. Raises DamagedCacheError that names the first file that differs.
    """
    files = {name: meta[FILES][name] for name in names or meta[FILES]}
    with ThreadPoolExecutor(HASHED_TOGETHER) as pool:
        for name, found in zip(files, pool.map(lambda name: _digest_now(folder / name), files), strict=True):
            if found != files[name]:
                what = "is not there" if found is None else "has changed since it was written"
                raise DamagedCacheError(f"{folder / name} {what}; {how_to_renew(folder)}")


def _digest_now(path: Path) -> str | None:
    """The `cached_file_digest` of a file; None if there is no file."""
    try:
        found = path.stat()
        return _digest_of(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        return None


@lru_cache(maxsize=2**16)
def _digest_of(path: Path, *state: int) -> str:
    return cached_file_digest(path)


def cached_file_digest(path: Path) -> str:
    """A digest that changes with the content of a cached file: 128 bits, computed as fast as memory is read.

    It protects against accidents, not against forgery: a forger could also change the stored digest.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, cache_hash).hexdigest()


def how_to_renew(folder: Path) -> str:
    """What to do about a folder that cannot be used."""
    return f"remove the folder (rm -r {shlex.quote(str(folder))}) and give the same command again"


def is_usable(folder: Path, *, renew: bool) -> bool:
    """Whether a folder exists, is complete and is unchanged.

    For a damaged folder this logs a warning and returns False. For a folder of another format it raises DataError, or
    returns False if `renew` is set.
    """
    if not (folder / META).exists():
        return False
    try:
        with reading(folder, "folder of the cache"):
            meta = _parsed(folder / META)
            if renew and meta.get(FORMAT) != CACHE_FORMAT:
                return False
            check_format(folder, meta, CACHE_FORMAT, how_to_renew(folder))
            check_files(folder, _unsealed(folder / META, meta))
    except DamagedCacheError as error:
        log.warning("%s; it is made anew", str(error).partition(";")[0])
        return False
    return True


def make_once(path: Path, is_made: Callable[[], bool], make: Callable[[Lease], None]) -> None:
    """Let one process make what several share, under the lease of this path; the others wait.

    A process that was paused, and has lost the lease meanwhile, leaves it to its successor and waits too.
    """
    while True:
        with suppress(LeaseLostError), Lease(path).wait() as lease:
            try:
                if not is_made():
                    make(lease)
            except Exception:
                lease.check()  # the successor may be the reason
                raise
            return


def publish(made: Path, folder: Path) -> None:
    """Put a finished folder into its place. An old one is removed afterwards: on NFS, open files may stay in it."""
    old = folder.with_name(f".old-{secrets.token_hex(4)}-{folder.name}")
    with suppress(FileNotFoundError):
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Within this block a folder of the cache is read. Damage to it raises DamagedCacheError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise DamagedCacheError(f"{folder}: damaged {what} ({error}); {how_to_renew(folder)}") from None
