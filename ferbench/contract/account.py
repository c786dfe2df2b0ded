"""The account of a reader: what it did with each part of its input.

A reader fills the account while it reads; `ferbench.readers.account` adds the files that it has not touched.
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
    """Parts of one kind with the same outcome and reason: their number, and the first of them as examples."""

    what: str
    outcome: Outcome
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    """Patterns that match all of these parts, if they are unused."""


class Account:
    """Gives every file, folder, row, column and archive member one outcome: sample, read, damage, ignored or unused.

    `unused` parts look like data, but give no sample, and nobody has said that they may; they stop `prepare`. The name
    of a part is its path below the root, or a short name: for `column age of manifest.csv` it is `age`. `patterns` are
    those of the user's `--ignore`: matching parts are ignored, never unused. A pattern matches a name, or one of the
    folders that contain it, and `*` also matches slashes.
    """

    def __init__(self, root: Path | None = None, patterns: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.counts: dict[str, dict[str, int]] = {}
        """Number of samples by split and class; the class is `unknown` if there is no label."""
        self.remedies: dict[str, None] = {}
        """Options of `prepare` that would use unused or unknown parts, such as `--label-column emotion`."""
        self.reasons: dict[str, str] = {}
        """Why a damaged entry, or the files in a folder, give no sample; by the name of the entry or folder."""
        self.unknown_labels: dict[str, int] = {}
        """Number of entries for each label that is not a class, and each split name that is not a split."""
        self.touched = array("q")
        """A hash for each file that gave a sample or was read (not its path: there may be millions)."""
        self.folders: dict[str, str] = {}
        """The folders of used files, each with its path without links."""
        self.left: list[tuple[str, str]] = []
        """Patterns of image files that the reader skips on purpose, each with the reason."""
        self.is_complete = False
        """Whether everything was read, and untouched files were added."""
        self._root = root
        self._read: set[tuple[str, str]] = set()
        self._lines: dict[tuple[str, Outcome, str], AccountLine] = {}

    # -- what readers say --------------------------------------------------------------------------------------------

    def use(self, path: Path, role: str = "") -> None:
        """Tell that the reader has read this file: a list, an archive, the label of one image.

        With a `role` the account shows the file in a line. Image files of samples need no call.
        """
        self.touched.append(self.key(path))
        if role:
            self.read("file", self._name(path), role)

    def read(self, what: str, name: str, role: str) -> None:
        """Count a part that is read for a role, such as the column `emotion` for the label; repeats count once."""
        if (what, name) not in self._read:
            self._read.add((what, name))
            self.add(what, name, "read", role)

    def ignore(self, what: str, name: str, reason: str) -> None:
        """Count a part that never gives a sample, for a reason that holds for any data."""
        self.add(what, name, "ignored", reason)

    def leave(self, what: str, name: str, reason: str, remedy: str = "") -> None:
        """Count a part that looks like data, but is not used; `remedy` is the option of `prepare` that would use it."""
        if pattern := self.ignored_by(name):
            self.add(what, name, "ignored", f"--ignore {pattern}")
            return
        self.add(what, name, "unused", reason)
        if remedy:
            self.remedies[remedy] = None

    def explain(self, folder: str, reason: str) -> None:
        """Note why the images in a folder would be unused."""
        self.reasons[folder] = reason

    def leave_files(self, pattern: str, reason: str) -> None:
        """Name image files that this reader skips: `Image/original/*`, because other files show the same faces."""
        self.left.append((pattern, reason))

    # -- what is counted ---------------------------------------------------------------------------------------------

    def add(self, what: str, name: str, outcome: Outcome, reason: str, count: int = 1) -> None:
        """Count a part, or `count` of them with one name."""
        line = self._lines.setdefault((what, outcome, reason), AccountLine(what, outcome, reason))
        line.count += count
        if len(line.examples) < EXAMPLES and name not in line.examples:
            line.examples.append(name)
        if outcome == "unused":
            line.places.add(name.rpartition("/")[0] or name)
            if len(line.places) > MOST_PLACES:
                line.places = {os.path.commonpath(line.places) or "*"}

    def count(self, outcome: Outcome) -> int:
        """Return the number of parts with an outcome."""
        return sum(line.count for line in self._lines.values() if line.outcome == outcome)

    @property
    def lines(self) -> list[AccountLine]:
        """All lines: samples first, unused parts last."""
        return sorted(self._lines.values(), key=lambda line: OUTCOMES.index(line.outcome))

    def unused(self) -> Iterator[AccountLine]:
        """Yield the lines of parts that look like data, but were not used."""
        return (line for line in self.lines if line.outcome == "unused")

    def ignored_by(self, name: str) -> str | None:
        """Return the user's pattern that matches a name, or a folder that contains it; else None."""
        return matching(self.patterns, name)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if self._root and path.is_relative_to(self._root) else str(path)

    def key(self, path: Path) -> int:
        """Return the key of a file in `touched`; links to folders are followed, so that each file has one key."""
        folder, _, name = os.fspath(path).rpartition("/")
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder or ".")
        return self.key_in(self.folders[folder], name)

    @staticmethod
    def key_in(folder: str, name: str) -> int:
        """Return the key of a file in a folder whose path contains no links."""
        return hash((folder, name))


@dataclass(frozen=True)
class ReaderOptions:
    """The user's options for reading a copy of a dataset: its columns, and the meaning of its names.

    `splits` and `classes` map names in the copy, in lower case, to splits and canonical classes. `ignore` contains
    patterns of parts that may stay unused; they never exclude a sample.
    """

    label_column: str | None = None
    split_column: str | None = None
    id_column: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def given(self) -> dict[str, object]:
        """Return the options that are set, by name."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in found.items() if value}


NOTHING_SAID = ReaderOptions()


def escaped(name: str) -> str:
    """Return a pattern that matches only this name, and everything below it if it is a folder."""
    return name if name == "*" else "".join(f"[{char}]" if char in "*?[" else char for char in name)


def matching(patterns: Sequence[str], name: str) -> str | None:
    """Return the first pattern that matches a name, or a folder that contains it; None if there is none."""
    parts = name.split("/")
    names = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return next((p for p in patterns if any(fnmatchcase(one, p.rstrip("/")) for one in names)), None)
