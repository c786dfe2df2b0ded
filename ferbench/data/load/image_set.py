"""Images of one role as tensors on a device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ferbench.data.load.image_store import CENTRAL_BOX, UNKNOWN, ImageStore
from ferbench.data.prepare.stream_index import StreamIndex


@dataclass(frozen=True)
class ImageSet:
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

    def after(self, other: "ImageSet") -> "ImageSet":
        """Another set and this one as one."""
        return join(other, self)


@dataclass(frozen=True)
class Drawn:
    """The stored images of a step: (B, S, S, 3) uint8, boxes (B, 4) float32, and their positions (B,) int64."""

    images: Tensor
    boxes: Tensor
    index: Tensor


def join(first: ImageSet, second: ImageSet) -> ImageSet:
    """Two sets as one, in the order of ids: the same set whatever part of it is labeled."""
    ids = first.ids + second.ids
    order = torch.tensor(sorted(range(len(ids)), key=ids.__getitem__), device=first.images.device)
    return ImageSet(
        images=torch.cat([first.images, second.images])[order],
        labels=torch.cat([first.labels, second.labels])[order],
        label_probs=torch.cat([first.label_probs, second.label_probs])[order],
        boxes=torch.cat([first.boxes, second.boxes])[order],
        ids=tuple(sorted(ids)),
    )


def image_set(
    source: ImageStore | StreamIndex, rows: Sequence[int], class_names: Sequence[str], device: torch.device
) -> ImageSet:
    """The images of these rows, in this order, on the device; those of a stream have no labels."""
    if isinstance(source, StreamIndex):
        return _few_of_a_stream(source, rows, class_names, device)
    images = torch.from_numpy(np.ascontiguousarray(source.images[np.asarray(rows, np.int64)]))
    shares = torch.from_numpy(source.label_shares(rows, class_names))
    return ImageSet(
        images=images.to(device),
        labels=torch.from_numpy(source.label_positions(rows, class_names)).to(device),
        label_probs=(shares / shares.sum(1, keepdim=True).clamp_min(1e-12)).to(device),
        boxes=torch.from_numpy(source.boxes(rows)).to(device),
        ids=tuple(source.ids[row] for row in rows),
    )


def _few_of_a_stream(
    source: StreamIndex, rows: Sequence[int], class_names: Sequence[str], device: torch.device
) -> ImageSet:
    size, n = source.reader.image_size, len(rows)
    images = torch.from_numpy(source.reader.images(np.array(rows, np.int64)))
    return ImageSet(
        images=images.to(device),
        labels=torch.full((n,), UNKNOWN, device=device),
        label_probs=torch.zeros(n, len(class_names), device=device),
        boxes=(torch.tensor([CENTRAL_BOX], device=device) * size).expand(n, 4),
        ids=tuple(str(source.ids[row]) for row in rows),
    )
