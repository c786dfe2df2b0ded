"""The four-byte pixel in which the strong view works, and the checks at its border.

Three-byte pixels are slow to gather; with a fourth, unused byte (RGBX) a pixel is also one int32, so a geometric
operation moves one value per pixel instead of three. The same memory viewed as uint8 serves the colour operations.
"""

import torch
from torch import Tensor

MAX_PIXELS = 2**28  # pixel indices are int32 and count up to four bytes per pixel, borders included


def check_images(images: Tensor) -> None:
    """Refuse anything but (B, H, W, 3) uint8."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"expected uint8 images (B, H, W, 3), got {images.dtype} {tuple(images.shape)}")
    if images.numel() // 3 > MAX_PIXELS:
        raise ValueError(f"{images.shape[0]} images of {images.shape[1]}x{images.shape[2]} are too many: split the batch")


def pack(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> new (B, H, W, 4) uint8 whose fourth byte is 0."""
    check_images(images)
    rgbx = images.new_zeros((*images.shape[:3], 4))
    for channel in range(3):  # three strided copies beat one copy with an inner dimension of 3
        rgbx[..., channel] = images[..., channel]
    return rgbx


def unpack(rgbx: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 -> new (B, H, W, 3) uint8; the fourth byte, whatever it became, is dropped."""
    images = rgbx.new_empty((*rgbx.shape[:3], 3))
    for channel in range(3):
        images[..., channel] = rgbx[..., channel]
    return images


def as_int32(rgbx: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 -> (B, H, W) int32 view of the same memory, one value per pixel."""
    return rgbx.view(torch.int32).squeeze(-1)


def to_device(parameters: Tensor, device: torch.device) -> Tensor:
    """Parameters drawn on the CPU, where the images are; the copy to a GPU is queued and nothing waits for it."""
    if device.type == "cuda":
        return parameters.pin_memory().to(device, non_blocking=True)
    return parameters.to(device)
