"""What a reader was given, and what has become of each part of it.

A reader fills the account while it reads; `ferbench.readers.account` adds the files that nobody has touched.
"""

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

Outcome = Literal["sample", "read", "damage", "ignored", "unused"]
OUTCOMES: tuple[Outcome, ...] = ("sample", "read", "damage", "ignored", "unused")
EXAMPLES = 3
MOST_PLACES = 8


@dataclass
class AccountLine:
    """Parts of one kind with one outcome, for one reason: how many they are, and the first of them."""

    what: str
    outcome: Outcome
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    """Of what is unused: patterns that match all of it."""


class Account:
    """Every file, folder, row, column and archive member is a sample, read, a damage, ignored or unused.

    `unused` is what looks like data and gives no sample though nobody said so: it stops a preparation. A name is the
    path below the root, or what `prepare` shows: `column age of manifest.csv` has the name `age`. `patterns` are those
    of the user's `--ignore`: what matches is ignored, never unused. A pattern matches a name or a folder that it lies
    in, and `*` matches slashes too.
    """

    def __init__(self, root: Path | None = None, patterns: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.counts: dict[str, dict[str, int]] = {}
        """Samples of each class by split; `unknown` where there is no label."""
        self.remedies: dict[str, None] = {}
        """Options of `prepare` that would make use of what is unused or unknown, such as `--label-column emotion`."""
        self.reasons: dict[str, str] = {}
        """Why nothing is made of a damaged entry, or of the files in a folder, by its name."""
        self.unknown_labels: dict[str, int] = {}
        """How many entries have each label that is no class, or name a split that is none."""
        self.touched = array("q")
        """A hash for each file that gave a sample or was read: there may be millions."""
        self.folders: dict[str, str] = {}
        """Folders that files were used in, without links."""
        self.left: list[tuple[str, str]] = []
        """Patterns of image files that the reader leaves, each with the reason."""
        self.is_complete = False
        """Whether all was read, and the files that nobody has touched were added."""
        self._root = root
        self._read: set[tuple[str, str]] = set()
        self._lines: dict[tuple[str, Outcome, str], AccountLine] = {}

    # -- what readers say --------------------------------------------------------------------------------------------

    def use(self, path: Path, role: str = "") -> None:
        """The reader has read this file: a list, an archive, the label of one image; a role gives it a line.

        The image files of samples say so anyway.
        """
        self.touched.append(self.key(path))
        if role:
            self.read("file", self._name(path), role)

    def read(self, what: str, name: str, role: str) -> None:
        """A part that is read for its role, such as the column `emotion` for the label; once, however often it is."""
        if (what, name) not in self._read:
            self._read.add((what, name))
            self.add(what, name, "read", role)

    def ignore(self, what: str, name: str, reason: str) -> None:
        """A part that gives no sample, for a reason that holds for any data."""
        self.add(what, name, "ignored", reason)

    def leave(self, what: str, name: str, reason: str, remedy: str = "") -> None:
        """A part that looks like data and is not used; `remedy` is the option of `prepare` that would use it."""
        if pattern := self.ignored_by(name):
            self.add(what, name, "ignored", f"--ignore {pattern}")
            return
        self.add(what, name, "unused", reason)
        if remedy:
            self.remedies[remedy] = None

    def explain(self, folder: str, reason: str) -> None:
        """Why the images in a folder would be unused."""
        self.reasons[folder] = reason

    def leave_files(self, pattern: str, reason: str) -> None:
        """Image files that this reader leaves: `Image/original/*`, since another part holds the same faces."""
        self.left.append((pattern, reason))

    # -- what is counted ---------------------------------------------------------------------------------------------

    def add(self, what: str, name: str, outcome: Outcome, reason: str, count: int = 1) -> None:
        """Count a part."""
        line = self._lines.setdefault((what, outcome, reason), AccountLine(what, outcome, reason))
        line.count += count
        if len(line.examples) < EXAMPLES and name not in line.examples:
            line.examples.append(name)
        if outcome == "unused":
            line.places.add(name.rpartition("/")[0] or name)
            if len(line.places) > MOST_PLACES:
                line.places = {os.path.commonpath(line.places) or "*"}

    def count(self, outcome: Outcome) -> int:
        """How many parts have an outcome."""
        return sum(line.count for line in self._lines.values() if line.outcome == outcome)

    @property
    def lines(self) -> list[AccountLine]:
        """All of it: samples first, what is unused last."""
        return sorted(self._lines.values(), key=lambda line: OUTCOMES.index(line.outcome))

    def unused(self) -> Iterator[AccountLine]:
        """What looks like data and was not used."""
        return (line for line in self.lines if line.outcome == "unused")

    def ignored_by(self, name: str) -> str | None:
        """The pattern of the user that a name, or a folder that it lies in, matches."""
        return matching(self.patterns, name)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if self._root and path.is_relative_to(self._root) else str(path)

    def key(self, path: Path) -> int:
        """What stands for a file in `touched`; links to folders are followed, so that each file has one."""
        folder, _, name = os.fspath(path).rpartition("/")
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder or ".")
        return self.key_in(self.folders[folder], name)

    @staticmethod
    def key_in(folder: str, name: str) -> int:
        """The key of a file in a folder whose path has no links."""
        return hash((folder, name))


@dataclass(frozen=True)
class ReaderOptions:
    """What the user says of a copy: which column holds what, and how its names are to be read.

    `splits` and `classes` map names of the copy, in lower case, to splits and canonical classes. `ignore` are patterns
    of what may stay unused; they never leave out a sample.
    """

    label_column: str | None = None
    split_column: str | None = None
    id_column: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def given(self) -> dict[str, object]:
        """Those that say something, by name."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in found.items() if value}


NOTHING_SAID = ReaderOptions()


def escaped(name: str) -> str:
    """A pattern that matches this name alone, and what lies below it."""
    return name if name == "*" else "".join(f"[{char}]" if char in "*?[" else char for char in name)


def matching(patterns: Sequence[str], name: str) -> str | None:
    """The first pattern that a name, or a folder that it lies in, matches."""
    parts = name.split("/")
    names = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return next((p for p in patterns if any(fnmatchcase(one, p.rstrip("/")) for one in names)), None)
