"""Resizes a batch from the stored size to the size of the net's input."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, size: int) -> Tensor:
    """(B, S, S, C) uint8 -> (B, size, size, C) uint8. Images that already have the size are returned as they are.

    Bilinear with antialiasing, within one grey level of PIL (and so of torchvision's `Resize`): PIL rounds after the
    rows and before the columns. It computes in float32 on every device, since PyTorch's uint8 kernel is off by two
    levels.
    """
    if images.shape[1] == size:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    return planes.round_().permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def resize_boxes(boxes: Tensor, stored: int, size: int) -> Tensor:
    """(B, 4) boxes in images of `stored` pixels -> the same boxes after the images are resized to `size` pixels."""
    return boxes if stored == size else boxes * (size / stored)
