"""The four-byte pixel in which the strong view works, and the checks at its border.

Three-byte pixels are slow to gather; with a fourth, unused byte (RGBX) a pixel is also one int32, so a geometric
operation moves one value per pixel instead of three. The same memory viewed as uint8 serves the colour operations.
"""

import torch
from torch import Tensor

LONGEST_SIDE = 4096  # pixels: coordinates with 16 fractional bits must fit into int32
MAX_PIXELS = 2**28  # per batch, each image counted as a square of its longer side: pixel indices must fit too


def check_images(images: Tensor) -> None:
    """Refuse anything but (B, H, W, 3) uint8."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"expected uint8 images (B, H, W, 3), got {images.dtype} {tuple(images.shape)}")


def pack(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> new (B, H, W, 4) uint8 whose fourth byte is 0."""
    check_images(images)
    longest = max(images.shape[1:3])
    if longest > LONGEST_SIDE or len(images) * longest**2 > MAX_PIXELS:
        raise ValueError(f"{tuple(images.shape)} is too large for one batch of strong views: split it or resize it")
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
