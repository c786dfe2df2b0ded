"""Many small images as one PNG."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 96
GAP = 4


def contact_sheet(
    images: NDArray[np.uint8],  # (rows, columns, S, S, 3)
) -> bytes:
    """A PNG of a grid of square images, enlarged by whole pixels to about `TILE`, on a transparent ground.

    Every image has half the gap on each side, so that rows and columns are equal parts of the sheet.
    """
    rows, columns = images.shape[:2]
    tiles = [[_tile(image) for image in row] for row in images]
    pitch = tiles[0][0].width + GAP
    sheet = Image.new("RGBA", (columns * pitch, rows * pitch))
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            sheet.paste(tile, (x * pitch + GAP // 2, y * pitch + GAP // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(image)
    size = picture.width
    if size > TILE:
        return picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
    factor = round(TILE / size)
    return picture.resize((size * factor, size * factor), Image.Resampling.NEAREST)
