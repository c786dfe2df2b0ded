"""The tables of the site. One template and one script serve all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

LEVELS = 10
"""Levels of colour."""
MOST_CHOICES = 12


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, its link, and the level of its colour."""

    text: str
    href: str = ""
    level: int | None = None


@dataclass(frozen=True)
class Head:
    """The head of a column. Words are aligned to the left and sorted as text; `choices` are offered as a filter."""

    key: str
    title: str
    words: bool = False
    detail: str = ""
    href: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table. Its name prefixes its state in the address of the page."""

    name: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    dim: frozenset[int] = frozenset()
    """Indices of incomplete rows."""
    named_by: int = 0
    """Index of the column that names a row."""


def choices(texts: Sequence[str]) -> tuple[str, ...]:
    """The distinct texts of a column, sorted; empty if there is only one, or too many to choose from."""
    found = sorted(set(texts))
    return tuple(found) if 1 < len(found) <= MOST_CHOICES else ()
