"""Opens packed images on disk: rows of a manifest, and pixels, but no tensors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from ferbench.data.cache import FILES, check_files, read_meta, reading
from ferbench.data.packed_images import PackedImages
from ferbench.data.prepare.decode import Box
from ferbench.data.prepare.face_boxes import read_boxes
from ferbench.data.prepare.pack import MANIFEST
from ferbench.errors import DataError
from ferbench.records.cell import digest

UNKNOWN = -1
CENTRAL_BOX = (0.11, 0.11, 0.98, 0.98)
"""The face box if the manifest has none: SSFER's fixed (25, 25, 220, 220) of 224 pixels, as fractions of the width."""


def open_packed_images(folder: Path) -> PackedImages:
    """The pixels of a packed folder. They are not checked for damage; `ImageStore.check` does that."""
    with reading(folder, "packed dataset"):
        return _packed_images(folder, read_meta(folder))


def _packed_images(folder: Path, meta: Mapping[str, Any]) -> PackedImages:
    return PackedImages([folder / name for name in sorted(meta[FILES]) if name.endswith(".npy")])


class ImageStore:
    """An opened packed folder. Raises DamagedCacheError if its manifest has changed since it was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(folder, "packed dataset"):
            self.meta = read_meta(folder)
            check_files(folder, self.meta, MANIFEST)
            # `read_table` would import pandas.
            self._manifest = pyarrow.parquet.ParquetFile(folder / MANIFEST).read()

    @property
    def name(self) -> str:
        return str(self.meta["name"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids, splits, labels and encoded images."""
        return str(self.meta["fingerprint"])

    @property
    def image_size(self) -> int:
        """Pixels of each side."""
        return int(self.meta["image_size"])

    @cached_property
    def images(self) -> PackedImages:
        """All pixels (N, S, S, 3) uint8, on disk; raises DamagedCacheError if the folder is damaged."""
        self.check()
        return _packed_images(self.folder, self.meta)

    def check(self) -> None:
        """Raise DamagedCacheError if a file of the folder has changed since it was written."""
        check_files(self.folder, self.meta)

    @cached_property
    def ids(self) -> list[str]:
        return list(self._manifest["id"].to_pylist())

    @cached_property
    def splits(self) -> list[str]:
        return list(self._manifest["split"].to_pylist())

    @cached_property
    def labels(self) -> list[str | None]:
        return list(self._manifest["label"].to_pylist())

    @cached_property
    def contents(self) -> list[str]:
        """SHA-256 of each encoded image."""
        return list(self._manifest["sha256"].to_pylist())

    def content(self, rows: list[int]) -> list[list[object]]:
        """Id, image and face box of these rows: all that a method sees of them besides their labels."""
        part = self._manifest.select(["id", "sha256", "box"]).take(pyarrow.array(rows, pyarrow.int64()))
        return [[row["id"], row["sha256"], row["box"]] for row in part.to_pylist()]

    def box_sources(self, rows: list[int]) -> Counter[str]:
        """The number of these rows by source of their box: the manifest, a detector, or the `CENTRAL_BOX`."""
        own = self._manifest["box"].is_valid().take(pyarrow.array(rows, pyarrow.int64())).to_pylist()
        return Counter(
            "manifest" if box else "detected" if self.ids[row] in self._detected else "central"
            for row, box in zip(rows, own, strict=True)
        )

    @property
    def detected_boxes(self) -> str:
        """The fingerprint of the detected boxes."""
        return digest(sorted(self._detected.items()))

    @cached_property
    def _detected(self) -> Mapping[str, Box]:
        return read_boxes(self.name, str(self.meta["source_digest"]))

    def known_groups(self, kind: str) -> int:
        """The number of different subjects or videos."""
        return len(set(self._manifest[kind].to_pylist()) - {None})

    def groups(self, kind: str) -> list[str]:
        """The group of each image that gets one rank: the image's id, its subject or its video."""
        if kind == "image":
            return self.ids
        values = self._manifest[kind].to_pylist()
        if None in values:
            raise DataError(
                f"dataset '{self.name}': the protocol needs the {kind} of every image, which {values.count(None)} of "
                f"{len(values)} do not have; choose another --protocol, such as ratio-v1"
            )
        return list(values)

    def label_positions(self, rows: Sequence[int], class_names: Sequence[str]) -> NDArray[np.int64]:
        """The position of each row's label among the classes (N,); `UNKNOWN` for labels of other classes.

        The label comes from the manifest, as splits and fingerprints use it. The manifest has already decided ties of
        votes.
        """
        position = {name: i for i, name in enumerate(class_names)}
        return np.array([position.get(str(self.labels[row]), UNKNOWN) for row in rows], np.int64)

    def label_shares(self, rows: Sequence[int], class_names: Sequence[str]) -> NDArray[np.float32]:
        """The annotators' votes for each class (N, C) as in the manifest: counts or shares, 0 for other classes."""
        position = {name: i for i, name in enumerate(class_names)}
        shares = np.zeros((len(rows), len(class_names)), np.float32)
        distributions = self._manifest["label_distribution"]
        for i, row in enumerate(rows):
            label = self.labels[row]
            for name, share in distributions[row].as_py() or ([(label, 1.0)] if label else []):
                if name in position:
                    shares[i, position[name]] = share
        return shares

    def with_labels(self, labels: Mapping[int, str]) -> "ImageStore":
        """The same images with other labels for these rows, which lose the votes of annotators."""
        other = copy(self)
        other.labels = [labels.get(row, label) for row, label in enumerate(self.labels)]
        votes = self._manifest["label_distribution"]
        kept = [None if row in labels else vote for row, vote in enumerate(votes.to_pylist())]
        place = self._manifest.column_names.index("label_distribution")
        other._manifest = self._manifest.set_column(place, "label_distribution", pyarrow.array(kept, votes.type))
        return other

    def boxes(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The face of each row (N, 4) as x0, y0, x1, y1 in pixels: from the manifest, a detector or the central box."""
        own = self._manifest["box"].take(pyarrow.array(rows, pyarrow.int64())).to_pylist()
        parts = [self._detected.get(self.ids[row], CENTRAL_BOX) for row in rows]
        boxes = [box or [part * self.image_size for part in other] for box, other in zip(own, parts, strict=True)]
        return np.array(boxes, np.float32).reshape(len(rows), 4)
