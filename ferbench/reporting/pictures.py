"""Pictures embedded in a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 96
"""Longest side of a picture, in pixels."""


def picture_uri(image: NDArray[np.uint8]) -> str:
    """An image (S, S, 3) as a PNG data URI, at most `LARGEST` pixels wide; larger images are scaled down."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
