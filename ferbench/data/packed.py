"""Packed images as tensors: the pools that a cell draws from."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor

from ferbench.data.decode import Box
from ferbench.data.face_boxes import read_boxes
from ferbench.errors import DataError
from ferbench.records.cell import digest

UNKNOWN = -1
CENTRAL_BOX = (0.11, 0.11, 0.98, 0.98)
"""The face where the manifest has no box: SSFER's fixed (25, 25, 220, 220) of 224 pixels, as parts of the width."""


@dataclass(frozen=True)
class Pool:
    """N images of one role on one device.

    `images` (N, S, S, 3) uint8; `labels` (N,) int64, -1 where unknown; `label_probs` (N, C) float32; `boxes` (N, 4)
    float32 pixels.
    """

    images: Tensor
    labels: Tensor
    label_probs: Tensor
    boxes: Tensor
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def truth(self, index: Tensor) -> Tensor:
        """Labels (B,) int64 of positions, -1 where unknown; for reports."""
        return self.labels[index]

    def after(self, pool: "Pool") -> "Pool":
        """This pool and another as one."""
        return join_pools(pool, self)


@dataclass(frozen=True)
class Drawn:
    """The stored images of a step: (B, S, S, 3) uint8, boxes (B, 4) float32, and their positions (B,) int64."""

    images: Tensor
    boxes: Tensor
    index: Tensor


class Packed:
    """A packed folder, opened; `images` (N, S, S, 3) uint8 stay in the memory map until a pool is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.meta = json.loads((folder / "meta.json").read_text("utf-8"))
            self._manifest = pyarrow.parquet.read_table(folder / "manifest.parquet")
            self.images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(f"{folder}: damaged packed data set ({error}); remove this folder and run again") from None
        if len(self.images) != len(self._manifest):
            raise DataError(f"{folder}: {len(self.images)} images, {len(self._manifest)} rows; remove this folder")

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
        return int(self.images.shape[1])

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
        """Id, image and face box of these rows: what a method sees of them without their labels."""
        part = self._manifest.select(["id", "sha256", "box"]).take(pyarrow.array(rows, pyarrow.int64()))
        return [[row["id"], row["sha256"], row["box"]] for row in part.to_pylist()]

    def box_sources(self, rows: list[int]) -> Counter[str]:
        """How many of these rows have the box of the manifest, one that a detector has found, or the `CENTRAL_BOX`."""
        own = self._manifest["box"].is_valid().take(pyarrow.array(rows, pyarrow.int64())).to_pylist()
        return Counter(
            "manifest" if box else "detected" if self.ids[row] in self._detected else "central"
            for row, box in zip(rows, own, strict=True)
        )

    @property
    def detected_boxes(self) -> str:
        """The fingerprint of what the detector has found."""
        return digest(sorted(self._detected.items()))

    @cached_property
    def _detected(self) -> Mapping[str, Box]:
        return read_boxes(self.name, str(self.meta["source_digest"]))

    def known_groups(self, kind: str) -> int:
        """How many subjects or videos there are."""
        return len(set(self._manifest[kind].to_pylist()) - {None})

    def groups(self, kind: str) -> list[str]:
        """What a rank is given to: the image's id, or its subject or video."""
        if kind == "image":
            return self.ids
        values = self._manifest[kind].to_pylist()
        if None in values:
            raise DataError(
                f"dataset '{self.name}': the protocol needs the {kind} of every image, which {values.count(None)} of "
                f"{len(values)} do not have; choose another --protocol, such as ratio-v1"
            )
        return list(values)

    def pool(self, rows: list[int], class_names: tuple[str, ...], device: torch.device) -> Pool:
        """The images of these rows, in this order, on the device."""
        order = np.asarray(rows, dtype=np.int64)
        images = torch.from_numpy(np.ascontiguousarray(self.images[order]))
        # The label is the manifest's, which splits and fingerprints use; a tie of votes is broken there, once.
        position = {name: i for i, name in enumerate(class_names)}
        labels = torch.tensor([position.get(str(self.labels[row]), UNKNOWN) for row in rows], dtype=torch.int64)
        return Pool(
            images=images.to(device),
            labels=labels.to(device),
            label_probs=self._label_probs(rows, class_names).to(device),
            boxes=self._boxes(order).to(device),
            ids=tuple(self.ids[row] for row in rows),
        )

    def _label_probs(self, rows: list[int], class_names: tuple[str, ...]) -> Tensor:
        position = {name: i for i, name in enumerate(class_names)}
        probs = torch.zeros(len(rows), len(class_names))
        distributions = self._manifest["label_distribution"]
        for i, row in enumerate(rows):
            label = self.labels[row]
            pairs = distributions[row].as_py() or ([(label, 1.0)] if label else [])
            for name, share in pairs:
                if name in position:
                    probs[i, position[name]] = share
        return probs / probs.sum(1, keepdim=True).clamp_min(1e-12)

    def _boxes(self, order: np.ndarray) -> Tensor:
        own = self._manifest["box"].take(pyarrow.array(order)).to_pylist()
        parts = [self._detected.get(self.ids[row], CENTRAL_BOX) for row in order]
        boxes = [box or [part * self.image_size for part in other] for box, other in zip(own, parts, strict=True)]
        return torch.tensor(boxes, dtype=torch.float32).reshape(len(order), 4)


def join_pools(first: Pool, second: Pool) -> Pool:
    """Two pools as one, in the order of ids: the same pool whatever part of it is labeled."""
    ids = first.ids + second.ids
    order = torch.tensor(sorted(range(len(ids)), key=ids.__getitem__), device=first.images.device)
    return Pool(
        images=torch.cat([first.images, second.images])[order],
        labels=torch.cat([first.labels, second.labels])[order],
        label_probs=torch.cat([first.label_probs, second.label_probs])[order],
        boxes=torch.cat([first.boxes, second.boxes])[order],
        ids=tuple(sorted(ids)),
    )
