"""What a dataset plugin fills in: where samples come from, never how they are used.

`ferbench.readers` has what readers of official layouts share: safe paths, label files, names of classes.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ferbench.contract.account import NOTHING_SAID, Account, ReaderOptions
from ferbench.errors import DataError

SEVEN_CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
EIGHT_CLASSES = (*SEVEN_CLASSES, "contempt")

OnBadRecord = Literal["stop", "skip"]
SplitName = Literal["train", "validation", "test", "unlabeled"]
RankGroups = Literal["image", "subject", "video"]


@dataclass(frozen=True)
class Sample:
    """One image of an official layout.

    `image` is the bytes of an image file, or its path, which must lie below the dataset's root. `label` is a canonical
    class *name*, a distribution over names (of equal shares the first is the label), or None where nothing is known;
    `box` is the face as x0, y0, x1, y1 in pixels of the stored image; `subject` and `video` are ids where the layout
    has them. Images of the split `validation` are packed and counted, and no protocol draws them.
    """

    id: str
    image: bytes | Path
    split: SplitName
    label: str | Mapping[str, float] | None = None
    subject: str | None = None
    video: str | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_name(self) -> str | None:
        """The label, or the first of those with the largest share; None where nothing is known."""
        if isinstance(self.label, Mapping):
            return max(self.label, key=self.label.__getitem__, default=None)
        return self.label


@dataclass(frozen=True)
class Damage:
    """An entry of a layout that gives no sample: where it stands (`labels.csv:17`), and why.

    `unknown_label` is the label, where it is what is wrong: many entries with one such label mean that all labels are
    to be read in another way.
    """

    record: str
    reason: str
    unknown_label: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.record}: {self.reason}"


@dataclass(frozen=True)
class DatasetInfo:
    """What the harness must know of a dataset before it reads one image.

    `classes` maps the name of a task (`"7"`, `"8"`) to its class names in canonical order; it is empty for a pool.
    `family` names the budget of a protocol that applies (several renders share `synthfaces`). `rule` says in a sentence
    what of the layout is read and how labels and splits come about. `native` maps the codes of its label files to
    canonical names, in its own order. `official` maps a split, or `all` for them together, to the number of images of
    each class that the publishers or papers give, for the data card; where only a sum is known, to `{"all": sum}`.
    `rank_groups` is what labels must be drawn by: of frames of one video, some labeled and some not, a method would
    know the answers. `gated` says that its licence restricts who may have it, `redistributable_labels` whether its
    labels may be passed on: where they may not, records are published without them. Where nobody has said, they may if
    there is a licence that does not restrict.
    """

    name: str
    title: str
    licence: str
    classes: Mapping[str, tuple[str, ...]]
    default_classes: str
    family: str
    citation: str = ""
    gated: bool = False
    rule: str = ""
    native: Mapping[str, str] = field(default_factory=dict)
    official: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rank_groups: RankGroups = "image"
    redistributable_labels: bool | None = None

    @property
    def publishes_labels(self) -> bool:
        """Whether its labels may stand in a published record."""
        if self.redistributable_labels is None:
            return bool(self.licence) and not self.gated
        return self.redistributable_labels


class Dataset(ABC):
    """Reads an official layout and yields its samples; it never downloads and never modifies the source."""

    needs_root: ClassVar[bool] = True
    needs_name: ClassVar[bool] = False
    """Whether the user names the set, since the reader reads anybody's."""
    marks: ClassVar[tuple[str, ...]] = ()
    """Patterns of files of which one in the root says that this reader reads it, for a reader that is slow to try.

    Where a folder is given without a reader, the others are tried: whoever makes samples of its first entries is named.
    """
    crop: float | None = None
    """With a number every image is cut to its face box, enlarged by this part of its sides on each side."""
    on_bad_record: OnBadRecord = "stop"
    """What a damaged image or line does: `stop` refuses the set with a list, `skip` leaves it out and counts it."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Which fields of `ReaderOptions` the reader follows; every reader takes `ignore`."""
    data_suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files, beside those of images, that hold images for this reader: what it does not read is unused."""
    options: ReaderOptions = NOTHING_SAID

    def __init__(self, root: Path | None = None, name: str | None = None) -> None:
        """`root` is the folder that the user names; a dataset that ships its images ignores it."""
        self.root = root
        self.name = name
        self.account = Account(root)
        """What `samples` says of all that is no sample; `ferbench.readers.account` takes it."""

    @property
    def folder(self) -> Path:
        """The root; raises DataError where there is no such folder."""
        if self.root is None or not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; name the one that holds the data with --root")
        return self.root

    @property
    @abstractmethod
    def info(self) -> DatasetInfo:
        """Names, licence and classes."""

    @abstractmethod
    def samples(self) -> Iterator[Sample | Damage]:
        """All samples of all splits, in an order that stays, and what gives none.

        Whether an image can be decoded is not looked at here. Raises DataError naming file and remedy where nothing
        can be read: the layout is another one, or a list is missing.
        """

    def redrawn_test(self, seed: int) -> Iterator[Sample] | None:
        """Other test images, as many and of the same distribution, of a set that is made by a generator; else None.

        The `seed` has 128 bits and is a secret of whoever re-evaluates models: it stands in no sample, file or message.
        """
        return None

    def source_digest(self) -> str:
        """A cheap SHA-256 that changes when the source does; the packed copy is reused while it stays.

        Of names, sizes and times, since a hash over a hundred gigabytes would take longer than it saves.
        """
        return tree_digest(self.folder)


def tree_digest(root: Path) -> str:
    """SHA-256 over the names, sizes and times of all files below a folder."""
    content = hashlib.sha256()
    folders = [("", root)]
    while folders:  # not os.walk, which gives up some thousand folders down
        below, folder = folders.pop()
        inner = []
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                inner.append((f"{below}{entry.name}/", Path(entry.path)))
            elif not _leads_to_folder(entry):
                line = f"{below}{entry.name}\0{_state(entry)}\n"
                content.update(line.encode(errors="surrogateescape"))
        folders += reversed(inner)
    return content.hexdigest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder has, by name; nothing where it cannot be listed, which is for whoever reads it."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _state(entry: os.DirEntry[str]) -> str:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # it is gone, or its path is too long
        return ""
    return f"{found.st_size}\0{found.st_mtime_ns}"
