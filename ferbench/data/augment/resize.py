"""From the size that images are stored at to that of the net's input, a batch at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, size: int) -> Tensor:
    """(B, S, S, C) uint8 -> (B, size, size, C) uint8; the images themselves where they have the size.

    Bilinear and antialiased, to within one grey level of PIL, whose way torchvision's `Resize` goes: PIL rounds rows
    before it goes on to columns. In float32 on every device, since PyTorch's kernel for uint8 strays by two levels.
    """
    if images.shape[1] == size:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    return planes.round_().permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def resize_boxes(boxes: Tensor, stored: int, size: int) -> Tensor:
    """(B, 4) boxes in images of `stored` pixels -> where they lie in the same of `size` pixels."""
    return boxes if stored == size else boxes * (size / stored)
