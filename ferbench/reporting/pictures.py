"""Pictures that stand in a page itself."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 96
"""Pixels of a side."""


def picture_uri(image: NDArray[np.uint8]) -> str:
    """A picture (S, S, 3) with its own pixels as a data URI, which the page enlarges; only a large one loses some."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
