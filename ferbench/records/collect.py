"""A tree of records: those that agree with themselves, and those that do not, with the reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ferbench.errors import VerificationError
from ferbench.records.checks import Protocols, check_record
from ferbench.records.schema import Record
from ferbench.records.store import BrokenRecord, RunStore, read_record


@dataclass(frozen=True)
class Collected:
    """The records that may enter a table by their paths, and why the others may not."""

    records: Mapping[Path, Record]
    problems: Mapping[Path, str]


def collect(root: Path, protocols: Protocols) -> Collected:
    """Read a record or every record below a folder. One that contradicts itself or another is left out."""
    records: dict[Path, Record] = {}
    problems: dict[Path, str] = {}
    first: dict[str, Path] = {}
    for path, found in _read(root):
        if isinstance(found, BrokenRecord):
            problems[path] = found.reason
        elif failed := [check for check in check_record(found, protocols) if check.state == "failed"]:
            problems[path] = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        else:
            records[path] = found
            other = first.setdefault(found.cell_id, path)
            if other != path:  # nothing says which of the two counts
                problems |= {path: f"the same cell as {other}", other: f"the same cell as {path}"}
    return Collected({path: record for path, record in records.items() if path not in problems}, problems)


def _read(root: Path) -> Iterator[tuple[Path, Record | BrokenRecord]]:
    if not root.is_file():
        yield from RunStore(root).iterate()
        return
    try:
        yield root, read_record(root)
    except VerificationError as error:
        yield root, BrokenRecord(str(error))
