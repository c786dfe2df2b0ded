"""Boxes under the weak view. A box is float32 x0, y0, x1, y1 in pixels; pixel i covers i..i+1."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ferbench.data.augment.pixels import to_device

if TYPE_CHECKING:
    from ferbench.data.augment.weak import WeakParameters


def shift_and_flip(boxes: Tensor, parameters: "WeakParameters", height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): moved with the crop, clipped to the image, then mirrored with the flip.

    A box that the crop leaves outside becomes empty (x0 == x1 or y0 == y1) at the border.
    """
    dx, dy, flip = (to_device(p, boxes.device) for p in (parameters.dx, parameters.dy, parameters.flip))
    x = (boxes[:, 0::2] - dx[:, None]).clamp(0, width)
    y = (boxes[:, 1::2] - dy[:, None]).clamp(0, height)
    x = torch.where(flip[:, None], width - x.flip(1), x)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
