"""Boxes under affine operations. A box is float32 x0, y0, x1, y1 in pixels; pixel i covers i..i+1."""

import torch
from torch import Tensor


def follow(boxes: Tensor, inverses: Tensor, height: int, width: int) -> Tensor:
    """(B, 4) boxes -> new (B, 4): the smallest box around all four corners after a row of affine operations.

    `inverses` (rounds, B, 2, 3) say where the points of a result come from: x_in = a x + b y + c, in pixels. Clipped to
    the image; a box that has left it becomes empty at the border.
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = torch.stack((x0, y0, x1, y0, x0, y1, x1, y1), dim=1).view(-1, 4, 2)
    for inverse in inverses:
        # A point of the input lies where A p + c leads to it. Rotations and shears keep areas, so that det A is 1.
        a, b, c, d, e, f = inverse.flatten(1).to(boxes.dtype).unbind(1)
        x, y = corners[..., 0] - c[:, None], corners[..., 1] - f[:, None]
        corners = torch.stack((e[:, None] * x - b[:, None] * y, a[:, None] * y - d[:, None] * x), dim=-1)
    size = corners.new_tensor((width, height))
    first, last = corners.amin(1), corners.amax(1)
    return torch.cat((torch.minimum(first.clamp_min(0), size), torch.minimum(last.clamp_min(0), size)), dim=1)
