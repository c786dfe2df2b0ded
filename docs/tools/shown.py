"""A page of the reference as data, which a test can ask for what is missing, and as Markdown."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Something that can be typed or called: its name, what is told beside it, and what it is."""

    name: str
    text: str
    facts: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A heading, Markdown, and a table of entries whose `columns` stand between name and meaning."""

    heading: str
    text: str
    entries: Sequence[Entry] = ()
    columns: Sequence[str] = ()
    level: int = 2


@dataclass(frozen=True)
class Page:
    """A page of the reference."""

    title: str
    text: str
    sections: Sequence[Section]

    def markdown(self) -> str:
        """The whole page."""
        return "\n\n".join([f"# {self.title}", self.text, *map(_section, self.sections)]) + "\n"


def prose(text: str) -> str:
    """Text for people as Markdown: marks and tags in it are shown as they are."""
    parts = re.split(r"(`[^`]*`)", text.replace("\b\n", ""))
    escaped = (re.sub(r"([*<\[\]])", r"\\\1", part) if index % 2 == 0 else part for index, part in enumerate(parts))
    return "".join(escaped)


def _section(section: Section) -> str:
    parts = [f"{'#' * section.level} {section.heading}", section.text]
    if section.entries:
        parts.append(_table(section.columns, section.entries))
    return "\n\n".join(part for part in parts if part)


def _table(columns: Iterable[str], entries: Sequence[Entry]) -> str:
    titles = ("name", *columns, "meaning")
    rows = [(entry.name, *entry.facts, prose(entry.text)) for entry in entries]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines)


def _cell(text: str) -> str:
    """Text of a cell: a bar between backticks does not end it."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part.replace("|", "\\|") if index % 2 == 0 else part for index, part in enumerate(parts))
