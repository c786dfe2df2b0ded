"""Folders of the cache: where they lie, and whether what is there can be used."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow

from ferbench.errors import DataError
from ferbench.records.formats import CACHE_FORMAT, FORMAT, check_format

META = "meta.json"


def cache_root() -> Path:
    """`FERBENCH_CACHE`, else `ferbench` in the user's cache folder."""
    chosen = os.environ.get("FERBENCH_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferbench"


def read_meta(folder: Path) -> Any:
    """What the `meta.json` of a folder holds."""
    return json.loads((folder / META).read_text("utf-8"))


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write what says that a folder is whole, with the format of now."""
    (folder / META).write_text(json.dumps({FORMAT: CACHE_FORMAT, **meta}, indent=1, sort_keys=True), "utf-8")


def is_whole(folder: Path, *, renew: bool) -> bool:
    """Whether a folder is there; one of another format must be refused, or with `renew` does not count."""
    if not (folder / META).is_file():
        return False
    try:
        meta = read_meta(folder)
    except ValueError:
        return True  # whoever opens it says what is wrong
    if renew:
        return bool(meta.get(FORMAT) == CACHE_FORMAT)
    how_to_renew = f"remove it (rm -r {shlex.quote(str(folder))}) and give the same command again"
    check_format(folder, meta, CACHE_FORMAT, how_to_renew)
    return True


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """A block that reads a folder of the cache; damage to it is a DataError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise DataError(f"{folder}: damaged {what} ({error}); remove this folder and run again") from None
