"""Read untrusted label files: lines, rows and fields, each with its line number."""

import contextlib
import csv
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ferbench.contract.dataset import Damage, Sample
from ferbench.errors import DataError
from ferbench.readers.damage import UnknownLabel, damage_of
from ferbench.readers.paths import real
from ferbench.readers.text import MAX_QUOTED, quoted

MAX_LINE = 2**20
"""Characters of the longest line that is read; a row of FER2013 has 9,000."""

Row = TypeVar("Row")


def read_lines(root: Path, path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers from 1, without line ends and byte order mark.

    Raises DataError if a line is not UTF-8 or too long (naming the line), or if the file cannot be read.
    """
    number = 0
    try:
        with real(root, path).open(encoding="utf-8-sig", errors="surrogateescape") as file:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise DataError(f"{path}:{number}: this line has over {MAX_LINE} characters; copy the file again")
                # Decode line by line, so that an error can name the line with invalid UTF-8.
                line.encode()
                yield number, line.rstrip("\r\n")
    except UnicodeEncodeError:
        raise DataError(f"{path}:{number}: not UTF-8; save the file as UTF-8 or copy it again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_table(
    root: Path,
    path: Path,
    columns: Sequence[str],
    *,
    delimiters: str = ",;\t",
    header: bool = True,
    hint: str = "",
) -> Iterator[tuple[str, Mapping[str, str]] | Damage]:
    """The rows of a file with a header, each with its place (`labels.csv:17`).

    The delimiter is the one that gives all `columns`, in any order; case and spaces around names do not matter. Other
    columns are yielded too. Yields Damage for a row with too few or too many fields; raises DataError that ends with
    `hint` if the header lacks columns. With `header=False` the first line may be a row with exactly these columns, in
    this order.
    """
    lines = read_lines(root, path)
    number, line = next(lines, (1, ""))
    wanted = [name.lower() for name in columns]
    headers = {d: [field.strip().lower() for field in fields] for d, fields in _splits(line, delimiters)}
    delimiter = next((d for d, names in headers.items() if set(wanted) <= set(names)), "")
    names = headers.get(delimiter, wanted)
    if not delimiter and not header:
        delimiter = next((d for d, fields in headers.items() if len(fields) == len(columns)), "")
        lines = itertools.chain([(number, line)], lines)
    if twice := {name for name in names if name and names.count(name) > 1}:
        raise DataError(f"{path}:1: the column {', '.join(sorted(twice))} appears twice; rename one of them")
    if not delimiter:
        raise DataError(f"{path}:1: {quoted(line)} does not have the columns {', '.join(columns)}{hint and '; '}{hint}")
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{path.relative_to(root)}:{number}"
        try:
            fields = _fields(line, delimiter)
        except csv.Error as error:
            yield Damage(where, str(error))
            continue
        if len(fields) != len(names):
            yield Damage(where, f"{len(fields)} fields instead of {len(names)}")
        else:
            yield where, dict(zip(names, fields, strict=True))


def _splits(line: str, delimiters: str) -> Iterator[tuple[str, list[str]]]:
    """The fields of a line for each delimiter that can split it."""
    for delimiter in delimiters:
        with contextlib.suppress(csv.Error):
            yield delimiter, _fields(line, delimiter)


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def parsed(
    rows: Iterable[tuple[str, Row] | Damage], sample_of: Callable[[Row], Sample | None]
) -> Iterator[Sample | Damage]:
    """The sample of each row; rows with None are skipped, rows with a ValueError become Damage."""
    for row in rows:
        if isinstance(row, Damage):
            yield row
            continue
        where, content = row
        try:
            if sample := sample_of(content):
                yield sample
        except ValueError as error:
            yield damage_of(where, error)


def number_in(text: str, known: Mapping[int, str] | Iterable[int]) -> int:
    """The integer of a label field; raises UnknownLabel that names `known` if it is not one of them."""
    known = list(known)
    with contextlib.suppress(ValueError):
        if (value := int(text)) in known:
            return value
    reason = f"label {quoted(text)} must be one of {', '.join(map(str, known))}"
    raise UnknownLabel(text.strip()[:MAX_QUOTED], reason)


def float_in(text: str) -> float:
    """The number in a field; raises ValueError that shows the text if it is not a number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a number") from None


def face_box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """A box of four numbers; raises ValueError if it is empty or not finite."""
    box = (x0, y0, x1, y1)
    if not (all(map(math.isfinite, box)) and x0 < x1 and y0 < y1):
        raise ValueError(f"not a face box: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return box
