"""`INDEX.md` of a runs folder: a line for each cell, so that people find their cells without knowing hashes."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from ferbench.errors import DataError
from ferbench.records.cell import Cell
from ferbench.records.files import remove_leftovers, write_atomic
from ferbench.records.metrics import BY_KEY
from ferbench.records.schema import Record
from ferbench.records.tree import folders_below
from ferbench.render.escape import markdown

INDEX = "INDEX.md"
MAX_TRIES = 10
"""How often the index is written again while other processes keep publishing; later they complete it."""
BEGUN = "begun, no record yet"
COLUMNS = (
    "folder",
    "method",
    "labels",
    "dataset",
    "protocol",
    "backbone",
    "seed",
    "not standard",
    "ended as",
    "score",
    "written (UTC)",
)
HEAD = f"""# Runs

This file has one line for each cell that was started here. ferbench rewrites it, so your own changes are lost.
`ferbench status` counts the cells and says which of them run now.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""


def keep_index(
    root: Path, names: Sequence[str], content: Callable[[Path], Record | Cell | str], tries: int = MAX_TRIES
) -> None:
    """Write INDEX.md, and repeat until nothing was published meanwhile. So the last writer leaves it correct.

    `names` are the files that describe a cell. The first one that exists counts, and `content` reads it. There is no
    lock, because some shared file systems have none. If the index cannot be written, the cell is not affected.
    Unfinished files are removed, also those of living writers: they were published before, so this call sees them.
    """
    path, found = root / INDEX, described(root, names)
    with suppress(OSError, DataError):
        for _ in range(tries):
            known, lines = _lines_in(path), {}
            for folder, (name, when) in found.items():
                line = known.get((folder, when))
                lines[folder] = line or _line_of(folder, content(root / folder / name), when)
            remove_leftovers(root, INDEX)
            write_atomic(path, _bytes(lines))
            before, found = found, described(root, names)
            if found == before:
                return


def described(root: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """By folder below the root: the file that describes each cell, and when it was written."""
    found = {}
    for folder, entries in folders_below(root):
        if isinstance(entries, OSError) or not (name := next((name for name in names if name in entries), None)):
            continue
        with suppress(OSError):
            when = _exactly(entries[name].stat(follow_symlinks=False).st_mtime_ns)
            found[folder or os.curdir] = name, when
        entries.clear()  # there is no cell within a cell
    return found


def _exactly(nanoseconds: int) -> str:
    """When a file was written, to the nanosecond. A line of the index stays valid while this time stays the same."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d}"


def _line_of(folder: str, found: Record | Cell | str, when: str) -> str:
    """The line for a record, for a cell that was started, or for the problem of a broken file."""
    if isinstance(found, str):
        return _line(folder, *[""] * (len(COLUMNS) - 4), found, "", when)
    cell, ended, score = (found.cell, found.status, _score(found)) if isinstance(found, Record) else (found, BEGUN, "")
    precision = "" if cell.precision == "fp32" else f"precision={cell.precision}"
    init = "" if cell.init == "scratch" else f" from {cell.init[:15]}"
    described = (cell.row, cell.budget.title(), cell.dataset_label, cell.protocol, f"{cell.backbone}{init}")
    changes = ", ".join(filter(None, [cell.changes, precision]))
    return _line(folder, *described, str(cell.seed), changes, ended, score, when)


def _bytes(lines: Mapping[str, str]) -> bytes:
    """The bytes of the whole file, from its lines by folder."""
    return (HEAD + "".join(f"{line}\n" for _, line in sorted(lines.items()))).encode()


def _lines_in(path: Path) -> dict[tuple[str, str], str]:
    """The lines of a file that this version of ferbench wrote, by folder and time."""
    with suppress(OSError, UnicodeDecodeError):
        text = path.read_text("utf-8")
        if text.startswith(HEAD):
            return {_folder_and_time(line): line for line in text.removeprefix(HEAD).splitlines()}
    return {}


def _folder_and_time(line: str) -> tuple[str, str]:
    """The folder that the first field of a line links to, and the last field. A bar within a field is escaped."""
    address = line.partition(" | ")[0].rpartition("](<")[2].removesuffix(">)")
    return os.fsdecode(unquote_to_bytes(address)), line.rpartition(" | ")[2].removesuffix(" |")


def _score(record: Record) -> str:
    if record.result is None:
        return ""
    metric = BY_KEY[record.headline]
    return f"{metric.short_title} {metric.text(record.result.scores()[metric.key])}"


def _line(folder: str, *fields: str) -> str:
    return f"| {_link(folder)} | {' | '.join(markdown(field) for field in fields)} |"


def _link(folder: str) -> str:
    return f"[{markdown(folder, 1000)}](<{quote(os.fsencode(folder))}>)"
