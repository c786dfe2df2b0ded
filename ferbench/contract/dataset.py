"""What a dataset plugin fills in: where samples come from, never how they are used.

`ferbench.contract.layout` has what readers of official layouts share: safe paths, label files, names of classes.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ferbench.errors import DataError

SEVEN_CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
EIGHT_CLASSES = (*SEVEN_CLASSES, "contempt")

OnBadRecord = Literal["stop", "skip"]
Split = Literal["train", "validation", "test", "unlabeled"]
RankGroups = Literal["image", "subject", "video"]


@dataclass(frozen=True)
class Sample:
    """One image of an official layout.

    `image` is the bytes of an image file, or its path, which must lie below the data set's root. `label` is a canonical
    class *name*, a distribution over names (of equal shares the first is the label), or None where nothing is known;
    `box` is the face as x0, y0, x1, y1 in pixels of the stored image; `subject` and `video` are ids where the layout
    has them. Images of the split `validation` are packed and counted, and no protocol draws them.
    """

    id: str
    image: bytes | Path
    split: Split
    label: str | Mapping[str, float] | None = None
    subject: str | None = None
    video: str | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Damage:
    """An entry of a layout that gives no sample: where it stands (`labels.csv:17`), and why."""

    record: str
    reason: str

    def __str__(self) -> str:
        return f"{self.record}: {self.reason}"


@dataclass(frozen=True)
class DatasetInfo:
    """What the harness must know of a data set before it reads one image.

    `classes` maps the name of a task (`"7"`, `"8"`) to its class names in canonical order; it is empty for a pool.
    `family` names the budget of a protocol that applies (several renders share `synthfaces`). `rule` says in a sentence
    what of the layout is read and how labels and splits come about. `native` maps the codes of its label files to
    canonical names, in its own order. `official` maps a split, or `all` for them together, to the number of images of
    each class that the publishers or papers give, for the data card; where only a sum is known, to `{"all": sum}`.
    `rank_groups` is what labels must be drawn by: of frames of one video, some labeled and some not, a method would
    know the answers.
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


class Dataset(ABC):
    """Reads an official layout and yields its samples; it never downloads and never modifies the source."""

    needs_root: ClassVar[bool] = True
    needs_name: ClassVar[bool] = False
    """Whether the user names the set, since the reader reads anybody's."""
    crop: float | None = None
    """With a number every image is cut to its face box, enlarged by this part of its sides on each side."""
    on_bad_record: OnBadRecord = "stop"
    """What a damaged image or line does: `stop` refuses the set with a list, `skip` leaves it out and counts it."""

    def __init__(self, root: Path | None = None, name: str | None = None) -> None:
        """`root` is the folder that the user names; a data set that ships its images ignores it."""
        self.root = root
        self.name = name

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

    def source_digest(self) -> str:
        """A cheap SHA-256 that changes when the source does; the packed copy is reused while it stays.

        Of names, sizes and times, since a hash over a hundred gigabytes would take longer than it saves.
        """
        return tree_digest(self.folder)


def tree_digest(root: Path) -> str:
    """SHA-256 over the names, sizes and times of all files below a folder."""
    content = hashlib.sha256()
    for folder, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(folder) / name
            found = path.lstat()
            line = f"{path.relative_to(root)}\0{found.st_size}\0{found.st_mtime_ns}\n"
            content.update(line.encode(errors="surrogateescape"))
    return content.hexdigest()


DESCRIPTION = "dataset.json"


def read_description(root: Path | None) -> tuple[Path, dict[str, Any], DatasetInfo]:
    """The folder, its `dataset.json` as written, and what it says of the set; raises DataError naming the remedy."""
    if root is None or not (root / DESCRIPTION).is_file():
        raise DataError(
            f"{root}: no {DESCRIPTION} here; name a folder written by 'ferbench synthfaces render --out DIR', or "
            "describe an archive of images as docs/pools.md says"
        )
    try:
        description: dict[str, Any] = json.loads((root / DESCRIPTION).read_text("utf-8"))
        name = str(description["name"])
        info = DatasetInfo(
            name=name,
            title=str(description.get("title", name)),
            licence=str(description.get("licence", "")),
            classes={task: tuple(names) for task, names in description.get("classes", {}).items()},
            default_classes=str(description.get("default_classes", "")),
            family=str(description.get("family", name)),
            citation=str(description.get("citation", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{root / DESCRIPTION}: not a data set description ({error!r}); render or write it again"
        ) from None
    return root, description, info


class ParquetDataset(Dataset):
    """A folder of `<split>.parquet` files with a `dataset.json`, as `ferbench synthfaces render` writes it.

    Columns: `image` (struct with `bytes`), `id`, and where known `label`, `subject`, `video`, `box` (4 floats); any
    other column becomes an attribute. The files are what Hugging Face `datasets` reads as `parquet`.
    """

    needs_root = True
    SPLITS: ClassVar[tuple[Split, ...]] = ("train", "test", "unlabeled")

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self._folder, self._description, self._info = read_description(root)

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def _files(self) -> Iterator[tuple[Split, Path]]:
        for split in self.SPLITS:
            path = self._folder / f"{split}.parquet"
            if path.is_file():
                yield split, path

    def source_digest(self) -> str:
        digest = hashlib.sha256(json.dumps(self._description, sort_keys=True).encode())
        for split, path in self._files():
            with path.open("rb") as file:
                digest.update(split.encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def samples(self) -> Iterator[Sample]:
        import pyarrow
        import pyarrow.parquet

        for split, path in self._files():
            try:
                for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024):
                    for row in batch.to_pylist():
                        yield self._sample(split, row)
            except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}: cannot be read as a Parquet split ({error}); render or copy it again"
                ) from None

    @staticmethod
    def _sample(split: Split, row: dict[str, Any]) -> Sample:
        box = row.pop("box", None)
        return Sample(
            id=str(row.pop("id")),
            image=row.pop("image")["bytes"],
            split=split,
            label=row.pop("label", None),
            subject=row.pop("subject", None),
            video=row.pop("video", None),
            box=tuple(box) if box else None,
            attributes=row,
        )
