"""The four-byte pixel that the strong view uses, checks of its input, and parts of a batch that fit into the cache.

Three-byte pixels are slow to gather; with a fourth, unused byte (RGBX) a pixel is also one int32, so a geometric
operation moves one value per pixel instead of three. The same memory viewed as uint8 serves the colour operations.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

LONGEST_SIDE = 4096  # pixels: coordinates with 16 fractional bits must fit into int32
MAX_PIXELS = 2**28  # per batch; an image counts as a square of its longer side: pixel indices must fit into int32
_CACHED = 1 << 20  # bytes that stay in a core's cache together with the results made from them


def check_images(images: Tensor) -> None:
    """Raise ValueError for anything but (B, H, W, 3) uint8, and for more pixels than indices can count."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"expected uint8 images (B, H, W, 3), got {images.dtype} {tuple(images.shape)}")
    longest = max(images.shape[1:3])
    if longest > LONGEST_SIDE or len(images) * longest**2 > MAX_PIXELS:
        raise ValueError(f"{tuple(images.shape)} is too large for one batch of views: split it or resize it")


def pack(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> new (B, H, W, 4) uint8. The fourth byte has no meaning."""
    check_images(images)
    return _pack_bytes(images) if images.device.type == "cpu" else widen(images)


def widen(images: Tensor) -> Tensor:
    """(B, H, W, 3) -> new (B, H, W, 4). The fourth channel repeats the first: this takes one kernel on a device."""
    return torch.cat((images, images[..., :1]), dim=-1)


def _pack_bytes(images: Tensor) -> Tensor:
    three = images.contiguous().numpy()
    rgbx = np.empty((three.size // 3,), np.uint32)
    if len(rgbx):
        # Every third byte begins a pixel. The pixel and the byte after it are copied as one number.
        rgbx[:-1] = np.ndarray((len(rgbx) - 1,), np.uint32, three, strides=(3,))
        rgbx[-1:].view(np.uint8)[:3] = three.reshape(-1, 3)[-1]
    return torch.from_numpy(rgbx.view(np.uint8).reshape(*images.shape[:3], 4))


def unpack(rgbx: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 -> (B, H, W, 3) uint8. The fourth byte is dropped, whatever it holds."""
    if rgbx.device.type != "cpu":
        return rgbx[..., :3].contiguous()
    images = np.empty((*rgbx.shape[:3], 3), np.uint8)
    for channel in range(3):  # three strided copies beat one copy with an inner dimension of 3
        images[..., channel] = rgbx.numpy()[..., channel]
    return torch.from_numpy(images)


def as_int32(rgbx: Tensor) -> Tensor:
    """(B, H, W, 4) uint8 -> (B, H, W) int32 view of the same memory, one value per pixel."""
    return rgbx.view(torch.int32).squeeze(-1)


def in_cache(images: Tensor) -> Iterator[slice]:
    """The images (B, H, W, C) on a CPU, in equal parts whose four-byte pixels fit into the cache."""
    count, height, width = images.shape[:3]
    parts = min(count, -(-count * height * width * 4 // _CACHED))
    for part in range(parts):
        yield slice(count * part // parts, count * (part + 1) // parts)
