"""Images of one role as tensors on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ferbench.data.load.image_store import CENTRAL_BOX, ImageStore
from ferbench.data.prepare.stream_index import StreamIndex


@dataclass(frozen=True)
class ImageSet:
    """N images of one role on one device: `images` (N, S, S, 3) uint8, `boxes` (N, 4) float32 pixels.

    `numbers` (N,) int64 identify the images for a method; None means their positions.
    """

    images: Tensor
    boxes: Tensor
    numbers: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LabeledImages(ImageSet):
    """Images with `labels` (N,) int64 and `label_probs` (N, C) float32."""

    labels: Tensor = field(kw_only=True)
    label_probs: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class Drawn:
    """The stored images of a step: (B, S, S, 3) uint8, boxes (B, 4) float32 if wanted, numbers (B,) int64."""

    images: Tensor
    boxes: Tensor | None
    index: Tensor


def image_set(source: ImageStore | StreamIndex, rows: Sequence[int], device: torch.device) -> ImageSet:
    """The images of these rows, in this order, on the device."""
    wanted = np.asarray(rows, np.int64)
    if isinstance(source, StreamIndex):
        images, size = source.reader.images(wanted), source.reader.image_size
        boxes = (torch.tensor([CENTRAL_BOX]) * size).expand(len(wanted), 4)
    else:
        images, boxes = source.images[wanted], torch.from_numpy(source.boxes(rows))
    return ImageSet(torch.from_numpy(images).to(device), boxes.to(device))
