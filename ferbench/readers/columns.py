"""Find columns that look like labels, splits or images although they have another name."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ferbench.readers.images import LOOKED_AT, looks_like_image

SOME = 1000
"""Rows that are examined: a column has the same kind in all rows."""
MOST_VALUES = 50
"""Most different values of a column of classes."""
MOST_COLUMNS = 1000
NAMELESS = "(no name)"
"""Shown for a column with an empty name, which pandas writes for an index."""
_LABEL = re.compile("label|emotion|expression|class|target|category|sentiment|affect|(^|_)y($|_)")
_SPLIT = re.compile("^(split|usage|set|subset|partition|fold|phase|data_?set|original_split)$")


@dataclass
class Column:
    """The examined values of a column that is not read."""

    values: set[str] = field(default_factory=set)
    rows: int = 0
    has_images: bool = False


class UnreadColumns:
    """Collects values of the columns that a reader does not read, and says what each column looks like."""

    def __init__(self, read: Iterable[str]) -> None:
        """`read` are the names of the columns that are read; they are not examined."""
        self._read = frozenset(read)
        self._columns: dict[str, Column] = {}

    def look(self, row: Mapping[str, object]) -> None:
        """Examine a row of a table."""
        for name, value in row.items():
            if name in self._read or (name not in self._columns and len(self._columns) >= MOST_COLUMNS):
                continue
            column = self._columns.setdefault(name, Column())
            if column.rows >= SOME or value is None:
                continue
            column.rows += 1
            content = value.get("bytes") if isinstance(value, Mapping) else value
            if isinstance(content, bytes):
                column.has_images |= looks_like_image(content[:LOOKED_AT])
            elif len(column.values) <= MOST_VALUES:
                column.values.add(str(value)[:MOST_VALUES].strip())

    def kinds(self, class_of: Callable[[str], object], split_of: Callable[[str], object]) -> dict[str, str]:
        """The kind of each column by its values or name: `image`, `label`, `split`, or empty."""
        return {
            name: "image" if column.has_images else _kind(name, column.values, class_of, split_of)
            for name, column in self._columns.items()
        }


def named_as_label(name: str) -> bool:
    """Whether the name of a column is usual for labels."""
    return bool(_LABEL.search(name.lower()))


def _kind(name: str, values: set[str], class_of: Callable[[str], object], split_of: Callable[[str], object]) -> str:
    values = values - {""}
    if 0 < len(values) <= MOST_VALUES:
        if all(_is(class_of, value) for value in values):
            return "label"
        if all(_is(split_of, value) for value in values):
            return "split"
        if _SPLIT.match(name.lower()):
            return "split"
        if named_as_label(name):
            return "label"
    return ""


def _is(meaning: Callable[[str], object], value: str) -> bool:
    try:
        meaning(value)
    except ValueError:
        return False
    return True
