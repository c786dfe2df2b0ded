"""The contract of a dataset plugin: it says where samples come from, never how they are used.

`ferbench.readers` has helpers for reading official layouts: safe paths, label files, class names.
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

    `image` is the bytes of an image file, or its path, which must be below the dataset's root. `label` is a canonical
    class *name*, a distribution over names (the first of the largest shares is the label), or None if unknown. `box`
    is the face as x0, y0, x1, y1 in pixels of the stored image. `subject` and `video` are ids, if the layout has them.
    Images of the split `validation` are packed and counted, but no protocol draws them.
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
        """The label, or the first name with the largest share; None if the label is unknown."""
        if isinstance(self.label, Mapping):
            return max(self.label, key=self.label.__getitem__, default=None)
        return self.label


@dataclass(frozen=True)
class Damage:
    """An entry of a layout that gives no sample: its place (`labels.csv:17`), and the reason.

    `unknown_label` is the label, if the label is the problem: many entries with the same unknown label suggest that
    the labels must be read in another way.
    """

    record: str
    reason: str
    unknown_label: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.record}: {self.reason}"


@dataclass(frozen=True)
class DatasetInfo:
    """What ferbench must know about a dataset before it reads an image.

    `classes` maps the name of a task (`"7"`, `"8"`) to its class names in canonical order; it is empty for a pool.
    `family` selects the protocol's recipe (several renders share `synthfaces`). `rule` says in one sentence which parts
    of the layout are read and where labels and splits come from. `native` maps the codes in its label files to
    canonical names, in its own order. `official` is for the data card: it maps a split, or `all` for all splits, to the
    number of images of each class according to the publishers or papers; if only the sum is known, to `{"all": sum}`.
    `rank_groups` is the unit in which labels are drawn: if some frames of a video were labeled and others not, a method
    would know the answers. `gated`: the licence restricts who may have the data. `redistributable_labels`: whether its
    labels may be published; if not, records are published without them. If it is None, labels may be published if
    there is a licence and it is not `gated`.
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
        """Whether a published record may contain its labels."""
        if self.redistributable_labels is None:
            return bool(self.licence) and not self.gated
        return self.redistributable_labels


class Dataset(ABC):
    """Reads an official layout and yields its samples; it never downloads or modifies the source."""

    needs_root: ClassVar[bool] = True
    needs_name: ClassVar[bool] = False
    """Whether the user must name the dataset, because the reader reads any dataset in its layout."""
    marks: ClassVar[tuple[str, ...]] = ()
    """Patterns of files for a reader that is slow to try: it fits a folder if a file in it matches one of them.

    If the user names a folder without a reader, the readers without marks are tried on its first entries, and those
    that find samples are suggested.
    """
    crop: float | None = None
    """If set, every image is cropped to its face box, which is enlarged on each side by this fraction of its sides."""
    on_bad_record: OnBadRecord = "stop"
    """What to do about a damaged image or line: `stop` refuses the dataset with a list, `skip` omits and counts it."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """The fields of `ReaderOptions` that the reader supports; every reader supports `ignore`."""
    data_suffixes: ClassVar[tuple[str, ...]] = ()
    """Further file endings, besides those of images, that count as data: such a file is unused if it is not read."""
    options: ReaderOptions = NOTHING_SAID

    def __init__(self, root: Path | None = None, name: str | None = None) -> None:
        """Take the folder `root` that the user names; a dataset that ships its images ignores it."""
        self.root = root
        self.name = name
        self.account = Account(root)
        """Where `samples` accounts for everything that is not a sample, for `ferbench.readers.account`."""

    @property
    def folder(self) -> Path:
        """The root; raises DataError if it is not a folder."""
        if self.root is None or not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; name the folder with the data by --root")
        return self.root

    @property
    @abstractmethod
    def info(self) -> DatasetInfo:
        """Names, licence and classes."""

    @abstractmethod
    def samples(self) -> Iterator[Sample | Damage]:
        """Yield all samples of all splits in a stable order, and the damaged entries.

        It does not check whether images can be decoded. Raises DataError, with file and remedy, if nothing can be
        read: the layout is another one, or a list is missing.
        """

    def redrawn_test(self, seed: int) -> Iterator[Sample] | None:
        """Return as many new test images of the same distribution, if a generator makes the dataset; else None.

        The `seed` has 128 bits and is a secret of the person who re-evaluates models: it must not appear in any sample,
        file or message.
        """
        return None

    def source_digest(self) -> str:
        """Return a cheap SHA-256 that changes if the source does; as long as it is equal, the packed copy is reused.

        It covers names, sizes and times: a hash over a hundred gigabytes would take longer than it saves.
        """
        return tree_digest(self.folder)


def tree_digest(root: Path) -> str:
    """Return the SHA-256 over the names, sizes and times of all files below a folder."""
    content = hashlib.sha256()
    folders = [("", root)]
    while folders:  # not os.walk, which fails in trees that are some thousand folders deep
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
    """Return a folder's entries by name; empty if it cannot be listed, which the reader will report."""
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
    except OSError:  # the file is gone, or its path is too long
        return ""
    return f"{found.st_size}\0{found.st_mtime_ns}"
