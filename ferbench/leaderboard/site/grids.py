"""A table of the site, whatever it holds: what the one template and the one script of tables work on."""

from collections.abc import Sequence
from dataclasses import dataclass

LEVELS = 10
"""Of colour."""
MOST_CHOICES = 12


@dataclass(frozen=True)
class Cell:
    """One place of a table: its text, what it links to, and how strongly it is coloured."""

    text: str
    href: str = ""
    level: int | None = None


@dataclass(frozen=True)
class Head:
    """The head of a column. Words are set to the left and sorted as such; `choices` are offered as a filter."""

    key: str
    title: str
    words: bool = False
    detail: str = ""
    href: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table. Its name is the part of the page's address that holds its state."""

    name: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    dim: frozenset[int] = frozenset()
    """Numbers of rows that are not complete."""
    named_by: int = 0
    """The column that names a row."""


def choices(texts: Sequence[str]) -> tuple[str, ...]:
    """The different texts of a column, where there are some, and not too many to choose from."""
    found = sorted(set(texts))
    return tuple(found) if 1 < len(found) <= MOST_CHOICES else ()
