"""Images that stress the operations, and conversions between PIL and tensors."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIZES = [(48, 48), (33, 33), (64, 64), (100, 100), (31, 47), (50, 37), (2, 2), (1, 7)]  # (height, width)


def random_images(count: int, height: int, width: int, seed: int) -> Tensor:
    """(count, height, width, 3) uint8: noise, gradients, narrow and few-level histograms, constant channels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width, 0:1][:2]
    kinds = [
        lambda: rng.integers(0, 256, (height, width, 3)),
        lambda: rng.integers(0, 256, 3) + np.zeros((height, width, 3)),
        lambda: rng.choice(rng.integers(0, 256, 2), (height, width, 3)),
        lambda: rng.choice([0, 255], (height, width, 1)) + np.zeros(3),
        lambda: rng.integers(0, 200) + rng.integers(0, rng.integers(2, 56), (height, width, 3)),
        lambda: (rng.uniform(-6, 6, 3) * x + rng.uniform(-6, 6, 3) * y + rng.integers(0, 256, 3)).clip(0, 255),
        lambda: 255 * rng.beta(0.3, 0.3, (height, width, 3)),
        lambda: np.where(rng.random((height, width, 3)) < 0.01, rng.integers(0, 256), rng.integers(0, 256)),
        lambda: 128 + 60 * np.sin(x / 5 + rng.uniform(0, 6, 3)) + rng.normal(0, 8, (height, width, 3)),
    ]
    images = [np.asarray(kinds[i % len(kinds)]()).clip(0, 255).astype(np.uint8) for i in range(count)]
    return torch.from_numpy(np.stack(images)) if images else torch.zeros((0, height, width, 3), dtype=torch.uint8)


def to_pil(image: Tensor) -> Image.Image:
    """(H, W, 3) uint8 -> RGB picture."""
    return Image.fromarray(image.cpu().numpy())


def from_pil(image: Image.Image) -> Tensor:
    """RGB picture -> (H, W, 3) uint8."""
    return torch.from_numpy(np.array(image))
