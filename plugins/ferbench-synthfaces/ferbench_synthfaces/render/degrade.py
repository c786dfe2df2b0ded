"""The effects of a cheap camera: blur, exposure, noise, grey, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from ferbench_synthfaces.render.difficulty import Difficulty

Floats = NDArray[np.float32]


def photograph(picture: Floats, difficulty: Difficulty, rng: np.random.Generator) -> tuple[NDArray[np.uint8], bool]:
    """Degrade a clean picture (S, S, 3) in 0..1; return the image (S, S, 3) as uint8, and whether it is grey."""
    blur = rng.uniform(*difficulty.blur) * len(picture) / 64
    picture = gaussian_filter(picture, (blur, blur, 0))
    gain = 1 + rng.uniform(-0.2, 0.2) * difficulty.light_spread
    offset = rng.normal(0, 0.04 * difficulty.light_spread)
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(difficulty.noise * rng.uniform(0.3, 1.5))
    picture = picture * np.float32(gain) + np.float32(offset) + noise
    grey = bool(rng.random() < difficulty.grey)
    if grey:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    pixels = (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return _through_jpeg(pixels, int(rng.integers(*difficulty.jpeg_quality))), grey


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
